"""Clips that lie as rows of parquet files, in the form of Hugging Face's datasets.

A row group holds many clips, so reading clips in shuffled order would decode each group
over and over. `pack` goes through a file once, in its own order, and writes encoded
records that `read` then finds at random.
"""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from aemjax.data.clips import Clip
from aemjax.data.records import WRITER_OPTIONS

AUDIO_COLUMN = "audio.bytes"  # whole audio files
_ROW = re.compile(r"(.+\.parquet)#(\d+)")
_BATCH_ROWS = 16


def row_source(file: str, row: int) -> str:
    """The `Clip.source` of a row."""
    return f"{file}#{row}"


def parse(source: str) -> tuple[str, int] | None:
    """(parquet file, row) of a clip's source; None if it is an audio file."""
    match = _ROW.fullmatch(source)
    return (match[1], int(match[2])) if match else None


def packed_path(folder: Path, file: str) -> Path:
    """Where the packed form of a parquet file is kept."""
    digest = hashlib.blake2b(file.encode(), digest_size=8).hexdigest()
    return folder / f"{Path(file).stem}-{digest}.array_record"


def pack(
    file: str,
    clips: Sequence[Clip],
    path: Path,
    encode: Callable[[Clip, bytes], tuple[dict, bytes]],
) -> None:
    """Writes the encoded rows of one parquet file, one record a row; once.

    Args:
      clips: those of its rows that are wanted.
      encode: (clip, content of its audio file) -> (index row, record); ValueError on
        audio that cannot be used, which is recorded in place of the record.

    Raises:
      ValueError: if the file is damaged or has no audio.
    """
    if path.is_file():
        return
    wanted = {parse(clip.source)[1]: clip for clip in clips}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Nobody else has it: a cluster may run a task on two machines at once.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        writer = ArrayRecordWriter(str(temporary), WRITER_OPTIONS)
        for row, content in enumerate(_contents(file)):
            head, record = {}, b""
            if row in wanted:
                try:
                    if not content:
                        raise ValueError("no bytes of audio in this row")
                    head["row"], record = encode(wanted[row], content)
                except ValueError as error:
                    head["bad"] = str(error).replace("<bytes>", f"{file}#{row}")
            writer.write(json.dumps(head).encode() + b"\n" + record)
        writer.close()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _contents(file: str) -> Iterator[bytes | None]:
    try:
        with pq.ParquetFile(file) as parquet:
            columns = [column.path for column in parquet.schema]
            if AUDIO_COLUMN not in columns:
                raise ValueError(
                    f"its columns are {columns}, expected one named {AUDIO_COLUMN!r}"
                )
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=[AUDIO_COLUMN]):
                for value in batch.column(0):
                    yield value["bytes"].as_py()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{file} cannot be read as a parquet file of audio: {error}; fetch it again"
        ) from error


def read(source: ArrayRecordDataSource, row: int) -> tuple[dict, bytes]:
    """(index row, record) of a packed row.

    Raises:
      ValueError: saying what was wrong with its audio.
    """
    head, _, record = source[row].partition(b"\n")
    head = json.loads(head)
    if "bad" in head:
        raise ValueError(head["bad"])
    return head["row"], record
