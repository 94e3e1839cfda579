"""From finished shards to a whole set: its index, TFDS metadata and manifest."""

import collections
import csv
import hashlib
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_datasets as tfds

from aemjax.data import catalog, folders, records, shards
from aemjax.data.clips import Listing
from aemjax.data.folders import AnyPath


def assemble(
    partial: AnyPath,
    plan: dict,
    dataset: catalog.Dataset,
    listing: Listing,
    paths: dict[str, list[AnyPath]],
    skipped: Sequence[tuple],
) -> None:
    """Gathers the shards' parts into index, TFDS metadata and, last, the manifest.

    A split without records is left out: TFDS opens none.

    Args:
      partial: the folder of the shards.
      plan: the arguments that all shards share.
      paths: every split's shards.
      skipped: (id, source, reason) of each clip left out.

    Raises:
      OSError: if something cannot be written.
    """
    tables, splits, infos = [], {}, []
    checksum = hashlib.sha256(repr(listing.label_names).encode())
    for split, split_paths in paths.items():
        counts, seconds, lengths, size = collections.Counter(), 0.0, [], 0
        for path in split_paths:
            part = shards.read_part(path)
            # Folds and groups are in the index alone; where a file lay does not matter.
            rows = [row | {"source": ""} for row in part["rows"]]
            checksum.update(f"{path.name} {part['sha256']} {rows}\n".encode())
            tables.append(pa.Table.from_pylist(part["rows"], records.INDEX_SCHEMA))
            lengths.append(len(part["rows"]))
            size += part["bytes"]
            for row in part["rows"]:
                counts.update(row["labels"])
                seconds += row["n_samples"] / plan["sample_rate"]
        if not any(lengths):
            for path in split_paths:
                path.unlink(missing_ok=True)
            continue
        splits[split] = {
            "clips": sum(lengths),
            "hours": round(seconds / 3600, 4),
            "bytes": size,
            "shard_clips": lengths,
            "clips_per_class": {
                label: counts[number]
                for number, label in enumerate(listing.label_names)
            },
        }
        infos.append((split, lengths, size))
    index = pa.concat_tables(tables)
    content = pa.BufferOutputStream()
    pq.write_table(index, content)
    (partial / records.INDEX).write_bytes(content.getvalue())
    _write_tfds_metadata(partial, plan, infos)
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("id", "source", "reason"), *skipped])
    folders.write_text(partial / records.SKIPPED, table.getvalue())
    multi_label = dataset.multi_label
    if multi_label is None:
        multi_label = max(len(labels) for labels in index["labels"].to_pylist()) > 1
    manifest = plan | {
        "multi_label": multi_label,
        "official": dataset.official,
        "normal_class": dataset.normal_class,
        "positive_class": dataset.positive_class,
        "published": {
            "classes": dataset.classes,
            "clips": dict(dataset.published_clips),
            "per_class": {k: dict(v) for k, v in dataset.published_per_class.items()},
        },
        "listed": len(index) + len(skipped),
        "kept": len(index),
        "skipped": {
            "missing": sum(reason == "missing" for *_, reason in skipped),
            "unreadable": sum(reason != "missing" for *_, reason in skipped),
        },
        "splits": splits,
        "checksum": checksum.hexdigest(),
    }
    folders.write_text(partial / records.MANIFEST, json.dumps(manifest, indent=2))


def _write_tfds_metadata(folder: AnyPath, plan: dict, splits: list[tuple]) -> None:
    """Makes the folder one that `tfds.builder_from_directory` reads."""
    with tempfile.TemporaryDirectory() as made:  # TFDS does not know every file system
        infos = [
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=lengths,
                num_bytes=size,
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=made,
                    dataset_name=plan["dataset"],
                    split=split,
                    filetype_suffix=records.SUFFIX,
                    template=records.TEMPLATE,
                ),
            )
            for split, lengths, size in splits
        ]
        for info in infos:
            for path in info.filepaths:
                Path(path).touch()  # it looks for them
        tfds.folder_dataset.write_metadata(
            data_dir=made,
            features=records.features(tuple(plan["labels"]), plan["storage"]),
            split_infos=infos,
            check_data=False,
        )
        for info in infos:
            for path in info.filepaths:
                Path(path).unlink()
        for file in Path(made).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
