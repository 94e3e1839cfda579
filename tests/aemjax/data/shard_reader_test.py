"""Parts of records, read where they lie, are the bytes that ArrayRecord reads."""

import os
import pickle
import resource

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from aemjax.data import shard_reader
from aemjax.data.records import WRITER_OPTIONS
from aemjax.data.shard_reader import ShardReader

BLOCK = 65_536
USABLE = BLOCK - 24


@pytest.fixture
def write(tmp_path):
    """records of one shard -> its path"""

    def make(records, options=WRITER_OPTIONS):
        path = str(tmp_path / f"shard-{len(os.listdir(tmp_path))}")
        writer = ArrayRecordWriter(path, options)
        for record in records:
            writer.write(record)
        writer.close()
        return path

    return make


def noise(*sizes):
    rng = np.random.default_rng(0)
    return [rng.bytes(size) for size in sizes]


def read(reader, row, start, size):
    out = np.zeros(size, np.uint8)
    reader.read_into(row, start, out)
    return out.tobytes()


@pytest.mark.parametrize("blocks_per_read", [1, 2, 500])
def test_any_part_of_any_record(write, monkeypatch, blocks_per_read):
    monkeypatch.setattr(shard_reader, "_BLOCKS_PER_READ", blocks_per_read)
    shards = [
        noise(1, 127, 128, 300_000, 16_383, 16_384, 70_000),
        noise(),
        noise(5 * USABLE, 1000, USABLE - 200),
    ]
    reader = ShardReader([write(shard) for shard in shards], [7, 0, 3])
    whole = [record for shard in shards for record in shard]
    assert len(reader) == len(whole) == 10
    rng = np.random.default_rng(0)
    for row, record in enumerate(whole):
        assert reader[row] == record
        assert read(reader, row, 0, len(record)) == record
        for _ in range(30):
            start, stop = np.sort(rng.integers(len(record) + 1, size=2)).tolist()
            assert read(reader, row, start, stop - start) == record[start:stop]


def test_records_that_begin_and_end_anywhere_in_a_block(write):
    """A chunk, its header and a record's size may all be interrupted by a block."""
    records = []
    for left in range(140):  # bytes of the block before the next chunk begins
        at = sum(len(r) + 42 + len(shard_reader.encode_varint(len(r))) for r in records)
        fill = (-(at + 40) - left) % USABLE
        records += noise((fill - 45) % USABLE + 1, 200)
    reader = ShardReader([write(records)], [len(records)])
    for row, record in enumerate(records):
        assert read(reader, row, 0, len(record)) == record


def test_numbers_wider_than_an_item(write):
    (record,) = noise(200_000)
    out = np.zeros((3, 50_000), np.int16)
    ShardReader([write([record])], [1]).read_into(0, 99, out[1])
    assert out[1].tobytes() == record[99 : 99 + 100_000]
    assert not out[::2].any()


@pytest.mark.parametrize(
    "options",
    [
        "group_size:1",
        "group_size:2,uncompressed",
        "group_size:1,uncompressed,transpose",
    ],
)
def test_records_that_were_written_otherwise(write, options):
    reader = ShardReader([write([b"aa" * 99, b"bb" * 99], options)], [2])
    assert reader[1] == b"bb" * 99
    with pytest.raises(ValueError, match="^records are compressed|^1 records, not 2"):
        read(reader, 1, 0, 9)


def test_counts_of_another_shard(write):
    reader = ShardReader([write(noise(5, 5, 5))], [2])
    with pytest.raises(ValueError, match="^3 records, not 2$"):
        read(reader, 0, 0, 5)


def test_a_shard_that_became_shorter(write):
    path = write(noise(300_000, 300_000))
    reader = ShardReader([path], [2])
    assert len(read(reader, 1, 0, 300_000)) == 300_000
    os.truncate(path, 400_000)
    with pytest.raises(ValueError, match="^the shard ends early$"):
        read(reader, 1, 0, 300_000)
    os.unlink(path)
    assert len(read(reader, 0, 0, 300_000)) == 300_000  # the file is still held


def test_a_copy_for_another_process_opens_its_own_files(write):
    record, other = noise(1000, 1000)
    reader = ShardReader([write([record]), write([other])], [1, 1])
    assert read(reader, 1, 0, 1000) == other
    files = len(os.listdir("/proc/self/fd"))
    copy = pickle.loads(pickle.dumps(reader))
    assert not copy._files
    assert (read(copy, 0, 0, 9), read(copy, 1, 0, 9)) == (record[:9], other[:9])
    del copy
    assert len(os.listdir("/proc/self/fd")) == files
    assert read(reader, 1, 0, 1000) == other


@pytest.fixture
def limits(monkeypatch):
    """(soft, hard) -> what the limit of open files is then set to"""

    def fake(soft, hard):
        found = []
        monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda what, to: found.append(to))
        return found

    return fake


@pytest.mark.parametrize(
    "soft, hard, expected",
    [
        (1024, 1 << 20, [(8256, 1 << 20)]),
        (1024, -1, [(8256, -1)]),
        (8256, 8256, []),
        (-1, -1, []),
    ],
)
def test_more_open_files_are_allowed(limits, soft, hard, expected):
    found = limits(soft, hard)
    shard_reader._allow_open_files(8256)
    assert found == expected


def test_too_many_shards(limits, write):
    limits(200, 257)
    with pytest.raises(
        ValueError,
        match="set needs 258 open files, this process may have 257; raise its `ulimit",
    ):
        ShardReader([write([b"a"])], [1])


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16_383, 16_384, 2**32, 2**63])
def test_varints(value):
    data = shard_reader.encode_varint(value)
    assert shard_reader.decode_varint(b"..." + data + b"...", 3) == (
        value,
        3 + len(data),
    )
    with pytest.raises(ValueError, match="^no integer where one was expected$"):
        shard_reader.decode_varint(data[:-1], 0)
