"""CED's files, as its save_logits.py writes them and its LogitsReader reads them."""

import sys
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aemjax.data.teachers import open_teacher
from tests.aemjax.data.stored import IDS, YTIDS, Set, sigmoid


def write_ced(folder, number, names, values, indexes):
    folder.mkdir(parents=True, exist_ok=True)
    k = np.shape(values)[1]
    with h5py.File(folder / f"logits_ep{number}_0.h5", "w") as file:
        for name, rows, dtype in (
            ("topk_values", values, "float16"),
            ("topk_indexes", indexes, "int16"),
        ):
            stored = file.create_dataset(
                name, dtype=dtype, shape=(len(rows), k), maxshape=(None, k)
            )
            stored[:] = rows
        file.create_dataset("seeds", data=np.zeros(len(values), np.int32))
    seconds = np.zeros(len(names), np.float32)
    table = pa.table({"filename": names, "start": seconds, "end": seconds + 10})
    pq.write_table(table, folder / f"logits_ep{number}_0.parquet", compression="brotli")


def draw(rng, n):
    indexes = np.stack([rng.permutation(527)[:20] for _ in range(n)])
    return rng.random((n, 20)).astype(np.float16), indexes


# The file names of CED's README, and of other downloaders.
NAMES = (
    "-aaaaaaaaaa_0.000_10.000.wav",
    "Y_bbbbbbbbb_.wav",
    "Yccccccccc-_12.500.wav",
    "elsewhere-1.wav",
    "-aaaaaaaaaa_0.000_10.000.wav",
)


@pytest.fixture
def ced(tmp_path):
    """(folder, [(ytid, values, indexes) of each crop])."""
    rng = np.random.default_rng(0)
    folder, crops = tmp_path / "logits" / "ensemble5014", []
    ytids = (YTIDS[0], YTIDS[1], YTIDS[2], "elsewhere-1", YTIDS[0])
    for number, part in enumerate(("balanced", "full", "full"), start=1):
        values, indexes = draw(rng, 5)
        write_ced(folder / part / "chunk_10", number, list(NAMES), values, indexes)
        crops += zip(ytids, values, indexes, strict=True)
    return tmp_path / "logits", crops


@pytest.mark.parametrize("temperature", [1, 2.5])
def test_ced_is_the_mean_over_a_clips_crops(ced, temperature):
    folder, crops = ced
    teacher = open_teacher(folder, Set(IDS), temperature=temperature)
    assert teacher.coverage == 0.75
    found, has = teacher.probabilities(np.array([2, 0, 3, 1, 0]))
    assert has.tolist() == [True, True, False, True, True]
    for output, place in zip(found, (2, 0, 3, 1, 0), strict=True):
        targets = []
        for ytid, values, indexes in crops:
            if ytid == YTIDS[place]:
                target = np.zeros(527)
                p = values.astype(float)
                target[indexes] = sigmoid(np.log(p / (1 - p)) / temperature)
                targets.append(target)
        expected = np.mean(targets, axis=0) if targets else np.zeros(527)
        np.testing.assert_allclose(output, expected, atol=1e-6)
        assert len(targets) == {0: 6, 1: 3, 2: 3, 3: 0}[place]
    found, has = teacher.probabilities(np.array([3, 3]))
    assert not found.any() and not has.any()


def test_ced_packed_is_as_unpacked(ced, tmp_path):
    folder, _ = ced
    packed = tmp_path / "logits.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, file.relative_to(tmp_path))
    teachers = [open_teacher(path, Set(IDS)) for path in (folder, packed)]
    expected, found = (t.probabilities(np.arange(4))[0] for t in teachers)
    np.testing.assert_array_equal(found, expected)
    assert found.any()


def test_outputs_of_ced_at_the_ends_stay_there(tmp_path):
    values = np.array([[1, 0.5, 0]], np.float16)
    write_ced(tmp_path, 1, [NAMES[0]], values, [[3, 4, 5]])
    found, _ = open_teacher(tmp_path, Set(IDS), temperature=2).probabilities(
        np.array([0])
    )
    np.testing.assert_allclose(found[0, 3:6], [1, 0.5, 0])


@pytest.mark.parametrize(
    ("names", "values", "indexes", "message"),
    [
        (NAMES[:2], [[0.5], [np.nan]], [[1], [2]], f"{NAMES[1]}' has outputs that are"),
        (NAMES[:2], [[-0.5], [0]], [[1], [2]], f"{NAMES[0]}' has outputs that are no"),
        (NAMES[:2], [[0.5], [1.5]], [[1], [2]], f"{NAMES[1]}' has outputs that are no"),
        (NAMES[:1], [[0.5]], [[527]], "or classes outside 0..526; fetch it again"),
        (NAMES[:2], [[0.5]], [[1]], r"values \(1, 1\), classes \(1, 1\) and 2 names"),
        (NAMES[3:4], [[0.5]], [[1]], "logits of none of the 4 clips of SET"),
    ],
)
def test_bad_files_of_ced_are_refused(tmp_path, names, values, indexes, message):
    write_ced(tmp_path, 1, list(names), np.array(values), np.array(indexes))
    with pytest.raises(ValueError, match=message):
        open_teacher(tmp_path, Set(IDS))


def test_missing_and_mixed_files_of_ced_are_refused(tmp_path):
    write_ced(tmp_path, 1, list(NAMES), *draw(np.random.default_rng(0), 5))
    write_ced(tmp_path, 2, [NAMES[0]], np.array([[0.5]]), np.array([[1]]))
    with pytest.raises(ValueError, match="ep2_0.h5 holds the 1 highest .*, others 20"):
        open_teacher(tmp_path, Set(IDS))
    (tmp_path / "logits_ep2_0.parquet").unlink()
    with pytest.raises(ValueError, match="ep2_0.h5, or the parquet file beside it, is"):
        open_teacher(tmp_path, Set(IDS))
    (tmp_path / "logits_ep2_0.h5").unlink()
    (tmp_path / "logits_ep1_0.h5").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match="ep1_0.h5, or the parquet file beside it, is"):
        open_teacher(tmp_path, Set(IDS))
    with zipfile.ZipFile(tmp_path / "logits.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ValueError, match="holds no .h5 files; expected CED's logits"):
        open_teacher(tmp_path / "logits.zip", Set(IDS))


def test_ced_without_h5py_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "logits_ep1_0.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        ImportError, match="CED's logits are HDF5 files, which need h5py"
    ):
        open_teacher(tmp_path, Set(IDS))
