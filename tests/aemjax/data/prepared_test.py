"""Opening a prepared set, and what is said of one that is not whole."""

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.records import FORMAT_VERSION


@pytest.fixture
def copy(tmp_path, ramps):
    return shutil.copytree(ramps.path, tmp_path / "set")


def shard(folder, number=1):
    return folder / f"manifest-full.array_record-{number:05d}-of-00003"


def change_manifest(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_set_is_opened(ramps):
    assert len(ramps) == 24
    assert ramps.label_names == ("a", "b", "c")
    assert ramps.multi_label
    assert not ramps.has_folds
    assert (ramps.mean.dtype, ramps.std.dtype) == (np.float32, np.float32)
    for row in range(len(ramps)):
        assert ramps.read_audio(row).shape == (ramps.n_samples[row],)


def test_the_columns_of_an_index(ramps):
    table = pq.read_table(ramps.path / "index.parquet")
    data = PreparedSet(ramps.path)
    for name in ("id", "split", "group", "device", "digest", "source", "fold"):
        assert name not in vars(data)  # not read before it is wanted
        assert getattr(data, name).tolist() == table[name].to_pylist()
        assert name in vars(data)
    assert (data.id.dtype.kind, data.fold.dtype) == ("U", np.int32)
    for name in ("clipped_samples", "source_rate", "n_samples", "mean", "std"):
        assert getattr(data, name).tolist() == table[name].to_pylist()


@pytest.mark.parametrize("start, n_samples", [(0, 800), (0, 799), (1, 799), (333, 1)])
def test_samples_are_read_into_an_array(ramps, start, n_samples):
    data = PreparedSet(ramps.path)
    for row in range(len(data)):
        found = np.zeros((3, 3, n_samples), np.int16)
        for i in range(3):  # the record first, then the samples where they lie
            data.read_into(row, start, found[i, 1])
        expected = ramps.read_audio(row)[start : start + n_samples]
        np.testing.assert_array_equal(found[:, 1], [expected] * 3)
        assert not found[:, ::2].any()


def test_flac_is_decoded_into_an_array(tmp_path, save):
    pcm = np.random.default_rng(0).integers(-900, 900, 1000).astype(np.int16)
    save(tmp_path / "in" / "a" / "x.wav", pcm)
    prepare("manifest", tmp_path / "in", tmp_path / "set", storage="flac")
    data, out = PreparedSet(tmp_path / "set"), np.zeros((3, 300), np.int16)
    for i in range(3):
        data.read_into(0, 77, out[i])
    np.testing.assert_array_equal(out, [pcm[77:377]] * 3)


def test_a_shard_cut_off_while_it_is_read(copy):
    data, out = PreparedSet(copy), np.empty(100, np.int16)
    for row in range(len(data)):
        data.read_into(row, 0, out)
        data.read_into(row, 0, out)
    for path in copy.glob("*.array_record-*"):
        path.write_bytes(b"")
    name = re.escape(f"record 3 ({data.id[3]}) cannot be read: the shard ends early; ")
    with pytest.raises(ValueError, match=name + "prepare the set again"):
        data.read_into(3, 0, out)


def test_labels_multi_hot(ramps):
    clip = np.array([int(name[:2]) for name in ramps.id])
    rows = np.array([5, 0, 5, 23])
    found = ramps.labels_multi_hot(rows)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.tri(3)[clip[rows] % 3])
    assert ramps.labels_multi_hot(rows[:0]).shape == (0, 3)


def test_check_classes(ramps):
    ramps.check_classes(3)
    with pytest.raises(ValueError, match="num_classes is 10, .* has 3 classes; set it"):
        ramps.check_classes(10)


def test_a_folder_that_is_no_set(tmp_path):
    with pytest.raises(
        ValueError, match=r"is not a prepared set \(no manifest.json\); make one with"
    ):
        PreparedSet(tmp_path)


def test_an_unreadable_manifest(copy):
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text[:100])
    with pytest.raises(
        ValueError, match="manifest.json is missing or damaged .* again"
    ):
        PreparedSet(copy)


@pytest.mark.parametrize(
    "text, message",
    [
        ("[1]", "no object in it"),
        ('{"format_version": 2}', "no 'sample_rate' in it"),
    ],
)
def test_a_manifest_of_something_else(copy, text, message):
    (copy / "manifest.json").write_text(text)
    message = rf"manifest.json is missing or damaged \({message}\); prepare the set"
    with pytest.raises(ValueError, match=message):
        PreparedSet(copy)


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, None])
def test_another_format(copy, version):
    change_manifest(copy, format_version=version)
    known = f"this version reads {FORMAT_VERSION}; prepare it"
    with pytest.raises(ValueError, match=f"set has format {version}, {known}"):
        PreparedSet(copy)


def test_another_sample_rate(copy):
    change_manifest(copy, sample_rate=32_000)
    with pytest.raises(ValueError, match="set is at 32000 Hz, expected 16000; prepare"):
        PreparedSet(copy)


@pytest.mark.parametrize("size", [None, 0, 500])
def test_a_missing_or_damaged_index(copy, size):
    path = copy / "index.parquet"
    content = path.read_bytes()
    path.unlink()
    if size is not None:
        path.write_bytes(content[:size])
    with pytest.raises(
        ValueError, match="index.parquet is missing or damaged .* again"
    ):
        PreparedSet(copy)


def test_an_index_of_other_length(copy):
    path = copy / "index.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(
        ValueError, match="holds 24 records, its index lists 23; a shard"
    ):
        PreparedSet(copy)


def test_a_missing_shard(copy):
    shard(copy).unlink()
    with pytest.raises(ValueError, match=f"{shard(copy).name} is missing; prepare the"):
        PreparedSet(copy)


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.999])
def test_a_truncated_shard(copy, share):
    content = shard(copy).read_bytes()
    shard(copy).write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        ValueError,
        match=f"{shard(copy).name} is missing or damaged .*; prepare the set",
    ):
        PreparedSet(copy)


def test_a_shard_of_fewer_records(copy, set_of):
    other = set_of([("a", "full", 0, "")] * 2).path
    shutil.copy(next(other.glob("*.array_record-*")), shard(copy))
    with pytest.raises(
        ValueError, match=r"holds \d+ records, its index lists 24; a sha"
    ):
        PreparedSet(copy)


def test_a_damaged_record(copy, ramps):
    samples = ramps.read_audio(3).tobytes()
    (path,) = (path for path in copy.glob("*.array*") if samples in path.read_bytes())
    content = path.read_bytes()
    path.write_bytes(content.replace(samples, b"\0" * len(samples)))
    data = PreparedSet(copy)
    name = re.escape(f"record 3 ({ramps.id[3]}) cannot be read: ")
    out = np.empty(100, np.int16)
    for _ in range(2):
        with pytest.raises(ValueError, match=name + ".*; prepare the set again"):
            data.read_audio(3)
        with pytest.raises(ValueError, match=name + ".*; prepare the set again"):
            data.read_into(3, 0, out)
    np.testing.assert_array_equal(data.read_audio(4), ramps.read_audio(4))


def test_records_of_another_set(copy, set_of):
    """As many records, of other lengths: those of another version of the dataset."""
    small = set_of([("a", "full", 0, "")] * 4).path
    other = copy.with_name("other")
    shutil.copytree(small, other)
    index = pq.read_table(other / "index.parquet")
    column = index.column_names.index("n_samples")
    index = index.set_column(column, "n_samples", [[161] * 4])
    pq.write_table(index, other / "index.parquet")
    data, out = PreparedSet(other), np.empty(100, np.int16)
    for _ in range(2):
        with pytest.raises(
            ValueError, match="cannot be read: 160 samples, not 161; prepare"
        ):
            data.read_into(0, 0, out)


def test_fingerprint_changes_with_content(tmp_path, save):
    found = set()
    for level in (1000, 1000, 1001):
        source = tmp_path / "in"
        for name in "ab":
            pcm = np.arange(400, dtype=np.int16)
            pcm[7] = level
            save(source / name / "x.wav", pcm)
        out = tmp_path / f"out{level}"
        shutil.rmtree(out, ignore_errors=True)
        prepare("manifest", source, out)
        found.add(PreparedSet(out).fingerprint)
    assert len(found) == 2


@pytest.mark.parametrize("rows", [[], [5], [2, 0, 23, 2], list(range(24))])
def test_labels_of_rows(ramps, rows):
    rows = np.array(rows, int)
    places, labels = ramps.labels_of(rows)
    own = pq.read_table(ramps.path / "index.parquet")["labels"].to_pylist()
    assert {len(labels) for labels in own} == {1, 2, 3}
    expected = [(i, k) for i, row in enumerate(rows) for k in own[row]]
    found = list(zip(places.tolist(), labels.tolist(), strict=True))
    assert found == expected
    hot = ramps.labels_multi_hot(rows)
    assert [tuple(pair) for pair in np.argwhere(hot).tolist()] == expected


def test_other_labels_are_refused(ramps):
    ramps.check_labels(["a", "b", "c"], "runs/mine")
    for labels, differ in (
        (["a", "c", "b"], "2 differ:\n  1: c there, b here\n  2: b there, c here"),
        (["a", "b"], "1 differ:\n  2: absent there, c here"),
        (["a", "b", "c", "d"], "1 differ:\n  3: d there, absent here"),
    ):
        message = f"runs/mine knows other labels than {ramps.path}; {differ}"
        with pytest.raises(ValueError) as error:
            ramps.check_labels(labels, "runs/mine")
        assert str(error.value) == message
