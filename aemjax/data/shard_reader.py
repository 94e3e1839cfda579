"""Reads the records of shards: whole and checked, or a part of one where it lies.

ArrayRecord reads whole records, checks their hash and copies them several times. A part
of a record can be read by one call of the system instead, into the array where it is
wanted, which makes random crops fast. Where the records lie is said by two documents:
doc/riegeli_records_file_format.md of google/riegeli (blocks, chunks) and
cpp/layout.proto of google/array_record (the footer, which lists the chunks).
"""

import bisect
import itertools
import os
import resource
import threading
import weakref
from collections.abc import Sequence

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource

# Bytes. Every block begins with a header, which interrupts whatever chunk is there.
_BLOCK = 1 << 16
_BLOCK_HEADER = 24
_CHUNK_HEADER = 40
_USABLE = _BLOCK - _BLOCK_HEADER
_BLOCKS_PER_READ = 500  # the system takes 1024 buffers in one read, two for a block
_ONE_RECORD = ord("r") | 1 << 8  # a chunk's type, and its number of records
_OTHER_FILES = 256  # that a process may have open: checkpoints, logs, sockets


class ShardReader:
    """The records of several shards, as one list."""

    def __init__(self, paths: Sequence[str], counts: Sequence[int]):
        """Opens shards that were written with `records.WRITER_OPTIONS`.

        Args:
          counts: records in each shard.

        Raises:
          RuntimeError: if one is damaged or no shard.
          ValueError: if this process may not open so many files.
        """
        self._files: dict[int, tuple[int, np.ndarray]] = {}
        weakref.finalize(self, _close, self._files)
        self._lock = threading.Lock()
        self._paths = list(paths)
        self._first_rows = list(itertools.accumulate(counts, initial=0))
        _allow_open_files(2 * len(self._paths) + _OTHER_FILES)
        self._source = ArrayRecordDataSource(self._paths)

    def __len__(self) -> int:
        return len(self._source)

    def __reduce__(self):
        counts = np.diff(self._first_rows).tolist()
        return ShardReader, (self._paths, counts)  # no other process has our files

    def __getitem__(self, row: int) -> bytes:
        """A whole record.

        Raises:
          RuntimeError, IndexError: if it is damaged.
        """
        return self._source[row]

    def read_into(self, row: int, start: int, out: np.ndarray) -> None:
        """Fills a contiguous array from byte `start` of a record, unchecked.

        Raises:
          ValueError: if the shard is damaged, or ends before that.
          OSError: if it cannot be read.
        """
        shard = bisect.bisect_right(self._first_rows, row) - 1
        file, begins = self._files.get(shard) or self._open(shard)
        at = int(begins[row - self._first_rows[shard]])
        _read_into(file, at + start, memoryview(out).cast("B"))

    def _open(self, shard: int) -> tuple[int, np.ndarray]:
        with self._lock:
            if shard not in self._files:
                file = os.open(self._paths[shard], os.O_RDONLY)
                try:
                    begins = _record_begins(file)
                    count = self._first_rows[shard + 1] - self._first_rows[shard]
                    if len(begins) != count:
                        raise ValueError(f"{len(begins)} records, not {count}")
                except BaseException:
                    os.close(file)
                    raise
                self._files[shard] = file, begins
            return self._files[shard]


def _close(files: dict[int, tuple[int, np.ndarray]]) -> None:
    for file, _ in files.values():
        os.close(file)


def _allow_open_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise ValueError(
            f"the set needs {count} open files, this process may have {hard}; raise its "
            "`ulimit -n`, or prepare the set with more clips per shard"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


# Positions below count a file's bytes without the block headers: there, chunks and
# records are contiguous.


def _read_into(file: int, at: int, out: memoryview) -> None:
    step = _BLOCKS_PER_READ * _USABLE
    for first in range(0, len(out), step):
        part = out[first : first + step]
        block, offset = divmod(at + first, _USABLE)
        buffers = [part[: _USABLE - offset]]
        for i in range(_USABLE - offset, len(part), _USABLE):
            buffers += [bytearray(_BLOCK_HEADER), part[i : i + _USABLE]]
        found = os.preadv(file, buffers, block * _BLOCK + _BLOCK_HEADER + offset)
        if found != sum(map(len, buffers)):
            raise ValueError("the shard ends early")


def _read(file: int, at: int, size: int) -> bytes:
    out = bytearray(size)
    _read_into(file, at, memoryview(out))
    return bytes(out)


def _record_begins(file: int) -> np.ndarray:
    """Where each record of a shard begins, int64; one record to a chunk.

    Raises:
      ValueError: if the footer is damaged, or the records were written otherwise.
    """
    postscript = _chunk(file, _position(os.fstat(file).st_size - _BLOCK))[0]
    _, *footer = _chunk(file, _position(_numbers(postscript)[1]))
    begins = np.zeros(len(footer), np.int64)
    for i, entry in enumerate(footer):
        numbers = _numbers(entry)
        prefix = _prefix(numbers[2])
        begins[i] = _position(numbers[1]) + _CHUNK_HEADER + len(prefix)
        if i == 0:  # the others were written alike
            head = _read(file, _position(numbers[1]), _CHUNK_HEADER + len(prefix))
            expected = len(prefix) + numbers[2], _ONE_RECORD, prefix
            if (*_sizes(head), head[_CHUNK_HEADER:]) != expected:
                raise ValueError("records are compressed, or several to a chunk")
    return begins


def _position(at: int) -> int:
    """Of a chunk, from its byte in the file; 0 in a block is before the header."""
    block, offset = divmod(at, _BLOCK)
    return block * _USABLE + max(offset - _BLOCK_HEADER, 0)


def _sizes(chunk_header: bytes) -> tuple[int, int]:
    """(bytes of its data, type and number of its records)"""
    size, kind = chunk_header[8:16], chunk_header[24:32]
    return int.from_bytes(size, "little"), int.from_bytes(kind, "little")


def _prefix(size: int) -> bytes:
    """What precedes the record in a chunk of one: not compressed, and its size."""
    length = encode_varint(size)
    return bytes([0, len(length)]) + length


def _chunk(file: int, at: int) -> list[bytes]:
    """The records of a chunk that is not compressed."""
    data_size, _ = _sizes(_read(file, at, _CHUNK_HEADER))
    data = _read(file, at + _CHUNK_HEADER, data_size)
    if data[0]:
        raise ValueError("records are compressed")
    width, at = decode_varint(data, 1)
    begin, sizes_end, result = at + width, at + width, []
    while at < sizes_end:
        size, at = decode_varint(data, at)
        result.append(data[begin : begin + size])
        begin += size
    return result


def _numbers(message: bytes) -> dict[int, int]:
    """{field: value} of a protocol buffer of small field numbers and integers."""
    result, at = {}, 0
    while at < len(message):
        result[message[at] >> 3], at = decode_varint(message, at + 1)
    return result


def decode_varint(data: bytes, at: int) -> tuple[int, int]:
    """(a protocol buffer's integer, the position after it)

    Raises:
      ValueError: if there is none.
    """
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("no integer where one was expected")


def encode_varint(value: int) -> bytes:
    result = []
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    return bytes([*result, value])
