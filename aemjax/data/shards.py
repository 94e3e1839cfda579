"""Writes one shard of a prepared set: the unit of work, and of going on after a kill.

A shard is named by its path alone, so that a task is small on any cluster; what it needs
lies beside it in the unfinished set:

    plan.json           the arguments that all shards share
    SHARD.clips.json    its clips, in the order of its records
    SHARD.json          when it is written: index rows, bad clips, checksum
    packed/             clips of parquet files, encoded (`aemjax.data.packed`), and
                        shards while they are written
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from aemjax.audio import read
from aemjax.data import folders, packed, records
from aemjax.data.clips import Clip
from aemjax.data.folders import AnyPath

PLAN = "plan.json"
PACKED = "packed"
_FULL_SCALE = np.iinfo(np.int16)


def clips_path(shard: AnyPath) -> AnyPath:
    return shard.with_name(shard.name + ".clips.json")


def part_path(shard: AnyPath) -> AnyPath:
    return shard.with_name(shard.name + ".json")


def write_clips(path: AnyPath, clips: Sequence[Clip]) -> None:
    """Notes what a shard, or a packed file, is to hold; once."""
    if not path.exists():
        text = json.dumps([dataclasses.asdict(clip) for clip in clips])
        folders.write_text(path, text)


def read_clips(path: AnyPath) -> list[Clip]:
    """What `write_clips` noted."""
    return [
        Clip(**fields | {"labels": tuple(fields["labels"])})
        for fields in json.loads(path.read_text())
    ]


def read_part(shard: AnyPath) -> dict:
    """What is known of a finished shard: its rows for the index, its bad clips."""
    return json.loads(part_path(shard).read_text())


def write_shard(path: str) -> None:
    """Reads a shard's clips and writes its records, unless that was done before.

    Raises:
      OSError: if the records cannot be written (a full disk, say), or a remote source
        cannot be read; the shard is then absent, not half there.
    """
    shard = folders.as_path(path)
    if part_path(shard).exists():
        return
    plan = json.loads((shard.parent / PLAN).read_text())
    rows, bad = [], []
    with writing(shard), _temporary(shard) as temporary:
        writer = ArrayRecordWriter(str(temporary), records.WRITER_OPTIONS)
        for clip in read_clips(clips_path(shard)):
            try:
                row, record = _example(clip, plan, shard.parent)
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
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        part = {
            "rows": rows,
            "bad": bad,
            "bytes": temporary.stat().st_size,
            "sha256": digest,
        }
        folders.move(temporary, shard)
        folders.write_text(part_path(shard), json.dumps(part))


def pack_file(path: str) -> None:
    """Encodes the clips of one parquet file, unless that was done before.

    Args:
      path: of the packed file to write; `path`.clips.json beside it lists the clips.

    Raises:
      ValueError: if the parquet file is damaged.
      OSError: if the packed file cannot be written.
    """
    clips = read_clips(clips_path(Path(path)))
    folder = Path(path).parent.parent
    plan = json.loads((folder / PLAN).read_text())
    file, _ = packed.parse(clips[0].source)
    with writing(Path(path)):
        packed.pack(file, clips, Path(path), functools.partial(_encode, plan=plan))


@contextlib.contextmanager
def writing(path: AnyPath) -> Iterator[None]:
    """Says of a failed write what it was and what to do."""
    try:
        yield
    except folders.UnreadableError:
        raise
    except (OSError, RuntimeError) as error:  # ArrayRecord raises RuntimeError
        local = Path(tempfile.gettempdir()) if folders.is_remote(path) else path.parent
        local = next(p for p in (local, *local.parents) if p.exists())
        free_gb = shutil.disk_usage(local).free / 1e9
        raise OSError(
            f"cannot write {path}: {error} ({free_gb:.2f} GB are free in {local}); make "
            "room and run the same command again: finished shards are kept"
        ) from error


@contextlib.contextmanager
def _temporary(path: AnyPath) -> Iterator[Path]:
    """A local file to write to, on the disk of `path` if that is local; then gone.

    Nobody else has it: a cluster may run a task on two machines at once.
    """
    if folders.is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
        return
    temporary = path.parent / PACKED / f"{path.name}.{uuid.uuid4().hex}.tmp"
    temporary.parent.mkdir(exist_ok=True)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _example(clip: Clip, plan: dict, folder: AnyPath) -> tuple[dict, bytes]:
    """A clip's index row and record; ValueError on audio that cannot be used."""
    row_of_file = packed.parse(clip.source)
    if row_of_file is None:
        return _encode(clip, folders.open_file(clip.source), plan=plan)
    file, row = row_of_file
    path = packed.packed_path(folder / PACKED, file)
    return packed.read(_open_packed(str(path), path.stat().st_mtime_ns), row)


@functools.lru_cache(maxsize=256)
def _open_packed(path: str, written_ns: int) -> ArrayRecordDataSource:
    # By time as well: a preparation may be begun anew by the same process.
    return ArrayRecordDataSource([path])


def _encode(clip: Clip, file, *, plan: dict) -> tuple[dict, bytes]:
    audio = read.read_audio(file, start_s=clip.start_s, end_s=clip.end_s)
    pcm = read.to_int16(audio)
    mean, std = read.statistics(read.from_int16(pcm))
    if std == 0 and not plan["keeps_silence"]:
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
            np.sum((pcm == _FULL_SCALE.min) | (pcm == _FULL_SCALE.max))
        ),
        "digest": hashlib.blake2b(pcm.tobytes(), digest_size=16).hexdigest(),
        "source_rate": read.source_rate(file),
        "start_s": clip.start_s or 0.0,
        "source": clip.source,
    }
    storage = plan["storage"]
    audio = records.to_storage(pcm, storage, plan["sample_rate"])
    features = records.features(tuple(plan["labels"]), storage)
    record = {"id": clip.id, "audio": audio, "labels": list(clip.labels)}
    return row, records.serialize(features, record)
