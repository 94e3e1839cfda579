"""Prepared sets whose index or manifest says something else than it did."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aemjax.data.prepared import PreparedSet
from aemjax.data.records import INDEX_SCHEMA


def altered(
    data: PreparedSet, folder: Path, *, manifest: dict | None = None, **columns: list
) -> PreparedSet:
    """A copy of `data` in `folder`, which is made anew, with these columns and values."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data.path, folder)
    index = pq.read_table(folder / "index.parquet")
    for name, values in columns.items():
        field = INDEX_SCHEMA.field(name)
        position = index.schema.get_field_index(name)
        index = index.set_column(position, field, pa.array(values, field.type))
    pq.write_table(index, folder / "index.parquet")
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (manifest or {})))
    return PreparedSet(folder)
