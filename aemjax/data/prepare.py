"""Official dataset folder -> a prepared set of ArrayRecord shards.

The unit of work is a shard: which clips it holds, and in which order, is a hash of
their ids and the seed, so shards are balanced, seeded-shuffled, and the same bytes
however many workers write them and however often the work was interrupted. Everything
is written to `OUT.incomplete`, renamed to OUT when whole; a finished shard in it is not
written again.
"""

import collections
import concurrent.futures
import contextlib
import csv
import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_datasets as tfds
import tqdm
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from aemjax.audio import read
from aemjax.data import catalog, records
from aemjax.data.clips import Clip, Listing

CLIPS_PER_SHARD = 512  # of 10 s: 160 MB
FULL_SCALE = np.iinfo(np.int16)


@dataclasses.dataclass(frozen=True)
class Shard:
    """One shard's work: `clips` in the order of its records."""

    path: Path
    clips: tuple[Clip, ...]
    label_names: tuple[str, ...]
    keeps_silence: bool


def prepare(
    name: str,
    source: str | Path,
    out: str | Path,
    *,
    workers: int = 1,
    allow_missing: bool = False,
    skip_unreadable: bool = False,
    seed: int = 0,
    clips_per_shard: int = CLIPS_PER_SHARD,
) -> dict:
    """Writes a prepared set and returns its manifest.

    Args:
      name: in the catalogue.
      source: folder as the dataset's authors ship it.
      out: folder to make; `OUT.incomplete` holds the work until it is whole.
      workers: processes that read audio.
      allow_missing: leave out clips whose file is absent, rather than refuse.
      skip_unreadable: leave out clips whose file is bad, rather than refuse.
      seed: of the order of clips on disk.
      clips_per_shard: about how many clips share a file.

    Raises:
      ValueError: on an unknown name, a malformed or incomplete folder, bad audio, or an
        `out` that exists.
      OSError: if something cannot be written, or a worker was killed.
    Shards that were finished stay in `OUT.incomplete`, and the same command goes on
    from them.
    """
    dataset = catalog.get(name)
    name = name.rpartition(":")[2].lower()  # of "package.module:BIRDS"
    source, out = Path(source), Path(out)
    if not source.exists():
        raise ValueError(f"source {source} does not exist")
    if out.exists():
        raise ValueError(f"{out} exists; remove it, or choose another --out")
    listing = _checked(dataset.read(source), source)
    absent = [clip for clip in listing.clips if clip.source is None]
    if absent and not allow_missing:
        raise ValueError(
            f"{len(absent)} of {len(listing.clips)} clips have no audio file below "
            f"{source}, the first: {[clip.id for clip in absent[:3]]}; fetch them, or "
            "leave them out with --allow-missing"
        )
    plan = {
        "format_version": records.FORMAT_VERSION,
        "dataset": name,
        "sample_rate": read.SAMPLE_RATE,
        "seed": seed,
        "clips_per_shard": clips_per_shard,
        "clips": hashlib.sha256(repr(listing).encode()).hexdigest(),
    }
    partial = _open_partial(out, plan)
    shards = _shards(name, listing, partial, plan, dataset.keeps_silence)
    bad = _write_all(shards, workers)
    if bad and not skip_unreadable:
        some = "\n  ".join(f"{clip}: {reason}" for clip, _, reason in bad[:5])
        raise ValueError(
            f"{len(bad)} clips cannot be used:\n  {some}\nRepair them and remove "
            f"{partial}, or leave them out with --skip-unreadable"
        )
    if len(bad) == sum(len(s.clips) for split in shards.values() for s in split):
        raise ValueError(
            f"not one of the {len(bad)} clips can be used, the first: {bad[0][2]}"
        )
    missing = [(clip.id, "", "missing") for clip in absent]
    with _writing(partial):
        _finish(partial, name, listing, plan, shards, missing + bad, dataset)
    os.rename(partial, out)
    _remove_work(out)
    return json.loads((out / records.MANIFEST).read_text())


def _checked(listing: Listing, source: Path) -> Listing:
    counts = collections.Counter(clip.id for clip in listing.clips)
    if twice := [clip for clip, count in counts.items() if count > 1]:
        raise ValueError(f"{source}: clips listed more than once: {twice[:5]}")
    return listing


def _open_partial(out: Path, plan: dict) -> Path:
    """The folder of work in progress.

    Raises:
      ValueError: if it was begun for another plan: hours of work may lie there.
    """
    partial = out.with_name(out.name + ".incomplete")
    begun = partial / "plan.json"
    if begun.is_file() and json.loads(begun.read_text()) != plan:
        raise ValueError(
            f"{partial} was begun with other arguments, or the files in the source have "
            "changed since; remove it to start anew, or choose another --out"
        )
    partial.mkdir(parents=True, exist_ok=True)
    with _writing(begun):
        _write_text(begun, json.dumps(plan))
    return partial


def _shards(
    name: str, listing: Listing, folder: Path, plan: dict, keeps_silence: bool
) -> dict[str, list[Shard]]:
    """Every split's shards; clips go to shard hash mod N, in the order of the hash."""

    def rank(clip: Clip) -> int:
        digest = hashlib.blake2b(f"{plan['seed']}:{clip.id}".encode(), digest_size=8)
        return int.from_bytes(digest.digest())

    by_split = collections.defaultdict(list)
    for clip in listing.clips:
        if clip.source is not None:
            by_split[clip.split].append((rank(clip), clip))
    if not by_split:
        raise ValueError("not one of the listed clips has audio; is --source right?")
    result = {}
    for split, ranked in by_split.items():
        count = -(-len(ranked) // plan["clips_per_shard"])
        parts = [[] for _ in range(count)]
        for key, clip in sorted(ranked, key=lambda pair: pair[0]):
            parts[key % count].append(clip)
        result[split] = [
            Shard(
                folder / records.shard_name(name, split, number, count),
                tuple(part),
                listing.label_names,
                keeps_silence,
            )
            for number, part in enumerate(parts)
        ]
    return result


def _write_all(shards: dict[str, list[Shard]], workers: int) -> list[tuple]:
    """Writes what is not there yet; returns (id, source, reason) of each bad clip."""
    work = [shard for split in shards.values() for shard in split]
    bar = tqdm.tqdm(total=sum(len(s.clips) for s in work), unit="clip", desc="prepare")
    with bar:
        if workers == 1:
            for shard in work:
                write_shard(shard)
                bar.update(len(shard.clips))
        else:
            _write_parallel(work, workers, bar)
    return [tuple(row) for shard in work for row in _part(shard)["bad"]]


def _write_parallel(work: list[Shard], workers: int, bar: tqdm.tqdm) -> None:
    with concurrent.futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    ) as pool:
        futures = {pool.submit(write_shard, shard): shard for shard in work}
        try:
            for done in concurrent.futures.as_completed(futures):
                done.result()
                bar.update(len(futures[done].clips))
        except BrokenProcessPool as error:
            raise OSError(
                "a worker was killed, most likely for want of memory; run the same "
                "command again with fewer --workers: finished shards are kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)  # else a full disk fails every shard


def _end_with_parent() -> None:
    """A worker of a killed parent would wait for ever, and disturb the next run."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _part(shard: Shard) -> dict:
    """What is known of a finished shard: its rows for the index, its bad clips."""
    return json.loads(_part_path(shard.path).read_text())


def _part_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def write_shard(shard: Shard) -> None:
    """Reads a shard's clips and writes its records, unless that was done before.

    Raises:
      OSError: if the records cannot be written (a full disk, say); the shard is then
        absent, not half there.
    """
    if _part_path(shard.path).is_file():
        return
    rows, bad = [], []
    features = records.features(shard.label_names)
    temporary = shard.path.with_name(shard.path.name + ".tmp")
    with _writing(shard.path, temporary):
        writer = ArrayRecordWriter(str(temporary), records.WRITER_OPTIONS)
        for clip in shard.clips:
            try:
                row, record = _encode(clip, features, shard.keeps_silence)
            except ValueError as error:
                bad.append((clip.id, clip.source, str(error)))
                continue
            writer.write(record)
            rows.append(row)
        writer.close()
        reader = ArrayRecordReader(str(temporary))
        written = reader.num_records()
        reader.close()
        if written != len(rows):
            raise OSError(f"{written} of {len(rows)} records arrived")
        os.rename(temporary, shard.path)
        digest = hashlib.sha256(shard.path.read_bytes()).hexdigest()
        part = {"rows": rows, "bad": bad, "sha256": digest}
        _write_text(_part_path(shard.path), json.dumps(part))


@contextlib.contextmanager
def _writing(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Says of a failed write what it was and what to do; leaves no `temporary`."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # ArrayRecord raises RuntimeError
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        free_gb = shutil.disk_usage(path.parent).free / 1e9
        raise OSError(
            f"cannot write {path}: {error} ({free_gb:.2f} GB are free); make room and "
            "run the same command again: finished shards are kept"
        ) from error


def _encode(clip: Clip, features, keeps_silence: bool) -> tuple[dict, bytes]:
    """A clip's index row and record.

    Raises:
      ValueError: on audio that cannot be used.
    """
    audio = read.read_audio(clip.source, start_s=clip.start_s, end_s=clip.end_s)
    pcm = read.to_int16(audio)
    mean, std = read.statistics(read.from_int16(pcm))
    if std == 0 and not keeps_silence:
        raise ValueError(f"{clip.source} is silent: every sample is the same")
    row = {
        "id": clip.id,
        "split": clip.split,
        "fold": clip.fold,
        "group": clip.group,
        "device": clip.device,
        "labels": list(clip.labels),
        "n_samples": len(pcm),
        "mean": mean,
        "std": std,
        "clipped_samples": int(
            np.sum((pcm == FULL_SCALE.min) | (pcm == FULL_SCALE.max))
        ),
        "digest": hashlib.blake2b(pcm.tobytes(), digest_size=16).hexdigest(),
        "source_rate": read.source_rate(clip.source),
        "start_s": clip.start_s or 0.0,
        "source": clip.source,
    }
    record = {"id": clip.id, "audio": pcm, "labels": list(clip.labels)}
    return row, records.serialize(features, record)


def _finish(partial, name, listing, plan, shards, skipped, dataset) -> None:
    """Gathers the shards' parts into index, manifest and TFDS metadata."""
    tables, splits, infos = [], {}, []
    checksum = hashlib.sha256(repr(listing.label_names).encode())
    for split, parts in shards.items():
        counts, seconds, lengths = collections.Counter(), 0.0, []
        for shard in parts:
            part = _part(shard)
            # Folds and groups are in the index alone; where a file lay does not matter.
            rows = [row | {"source": ""} for row in part["rows"]]
            checksum.update(f"{shard.path.name} {part['sha256']} {rows}\n".encode())
            tables.append(pa.Table.from_pylist(part["rows"], records.INDEX_SCHEMA))
            lengths.append(len(part["rows"]))
            for row in part["rows"]:
                counts.update(row["labels"])
                seconds += row["n_samples"] / plan["sample_rate"]
        splits[split] = {
            "clips": sum(lengths),
            "hours": round(seconds / 3600, 4),
            "shard_clips": lengths,
            "clips_per_class": {
                label: counts[number]
                for number, label in enumerate(listing.label_names)
            },
        }
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=lengths,
                num_bytes=sum(shard.path.stat().st_size for shard in parts),
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=partial,
                    dataset_name=name,
                    split=split,
                    filetype_suffix=records.SUFFIX,
                    template=records.TEMPLATE,
                ),
            )
        )
    index = pa.concat_tables(tables)
    pq.write_table(index, partial / records.INDEX)
    multi_label = dataset.multi_label
    if multi_label is None:
        multi_label = max(len(labels) for labels in index["labels"].to_pylist()) > 1
    manifest = plan | {
        "labels": list(listing.label_names),
        "multi_label": multi_label,
        "listed": len(listing.clips),
        "kept": len(index),
        "protocols": dataset.protocols,
        "official": dataset.official,
        "metrics": dataset.metrics,
        "normal_class": dataset.normal_class,
        "positive_class": dataset.positive_class,
        "published": {
            "classes": dataset.classes,
            "clips": dict(dataset.published_clips),
            "per_class": {k: dict(v) for k, v in dataset.published_per_class.items()},
        },
        "skipped": {
            "missing": sum(reason == "missing" for *_, reason in skipped),
            "unreadable": sum(reason != "missing" for *_, reason in skipped),
        },
        "splits": splits,
        "checksum": checksum.hexdigest(),
    }
    with (partial / records.SKIPPED).open("w", newline="") as file:
        csv.writer(file).writerows([("id", "source", "reason"), *skipped])
    tfds.folder_dataset.write_metadata(
        data_dir=partial,
        features=records.features(listing.label_names),
        split_infos=infos,
        check_data=False,
    )
    _write_text(partial / records.MANIFEST, json.dumps(manifest, indent=2))


def _remove_work(folder: Path) -> None:
    """Removes what only an unfinished set needs."""
    for path in (*folder.glob(f"*.{records.SUFFIX}-*.json"), folder / "plan.json"):
        path.unlink()


def _write_text(path: Path, text: str) -> None:
    """Writes a whole file or none of it."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
