"""Embeddings of files as one file: of NumPy, or Parquet."""

import csv
import importlib.util
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from aemjax.serve.embedding_parts import Arrays

ERRORS = ".errors.csv"


def check_out(out: str | os.PathLike) -> None:
    """Refuses what cannot be written, before any work.

    Raises:
      ValueError: if the file's kind is unknown or needs what is not installed, or it
        exists.
    """
    out = Path(out)
    if out.suffix not in WRITERS:
        raise ValueError(
            f"{out}: unknown kind {out.suffix!r}; known: {', '.join(sorted(WRITERS))}"
        )
    if out.suffix == ".parquet" and not importlib.util.find_spec("pyarrow"):
        raise ValueError(
            f"{out} needs pyarrow, which `pip install 'aemjax[prepare]'` brings; or name "
            "a file .npz"
        )
    if out.exists():
        raise ValueError(f"{out} exists; remove it, or choose another --out")


def _write_npz(path: Path, paths: Sequence[str], values: Arrays, labels) -> None:
    arrays = {"paths": np.array(paths), "embeddings": values["embedding"]}
    if "logits" in values:
        arrays |= {"logits": values["logits"], "labels": np.array(labels)}
    with path.open("wb") as file:  # a name would be given another ending
        np.savez(file, **arrays)


def _write_parquet(path: Path, paths: Sequence[str], values: Arrays, labels) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"path": pa.array(paths, pa.string())}
    for key in ("embedding", "logits"):
        if key in values:
            flat = pa.array(values[key].ravel())
            columns[key] = pa.FixedSizeListArray.from_arrays(flat, values[key].shape[1])
    metadata = {"labels": json.dumps(list(labels))} if "logits" in values else {}
    table = pa.table(columns).replace_schema_metadata(metadata)
    # Numbers of a network hardly repeat: a dictionary of them is in vain.
    pq.write_table(table, path, use_dictionary=False)


# By the ending of the name; each takes (path, files, arrays, labels).
WRITERS: dict[str, Callable] = {".npz": _write_npz, ".parquet": _write_parquet}


def errors_of(out: Path) -> Path:
    """Where the files that could not be read are listed."""
    return out.with_name(out.name + ERRORS)


def write_errors(path: Path, failed: Iterable[tuple[str, str]]) -> None:
    """Lists (file, reason); names that are not UTF-8 keep their bytes."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        # Python quotes no carriage return by itself.
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(["file", "reason"])
        writer.writerows(failed)
