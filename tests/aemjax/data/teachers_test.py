import concurrent.futures
import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aemjax.data.teachers import open_teacher
from tests.aemjax.data.stored import IDS, Set, sigmoid


def write_own(folder, ids, logits, *, names="abc", multi_label=True):
    folder.mkdir(exist_ok=True)
    about = {"labels": list(names), "multi_label": multi_label}
    (folder / "about.json").write_text(json.dumps(about))
    pq.write_table(pa.table({"id": list(ids)}), folder / "index.parquet")
    np.save(folder / "logits.npy", np.asarray(logits, np.float16))
    return folder


def test_own_logits_are_matched_by_id(tmp_path):
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float16)
    path = write_own(tmp_path, ["d", "x", "a", "b"], logits)
    teacher = open_teacher(path, Set("abcd", "abc"), temperature=2)
    assert teacher.coverage == 0.75
    found, has = teacher.probabilities(np.array([3, 0, 2, 3, 1]))
    assert has.tolist() == [True, True, False, True, True]
    assert found.dtype == np.float32
    expected = sigmoid(logits[[0, 2, 0, 0, 3]].astype(float) / 2)
    expected[2] = 0
    np.testing.assert_allclose(found, expected, atol=1e-6)
    again = open_teacher(str(path / "logits.npy"), Set("abcd", "abc"), temperature=2.0)
    np.testing.assert_array_equal(again.probabilities(np.array([3]))[0], found[:1])


def test_a_fingerprint_is_of_what_lies_there_not_of_where(tmp_path):
    logits = np.random.default_rng(0).normal(size=(4, 3))
    found = {}
    for name, values in (("a", logits), ("b", logits), ("c", -logits)):
        path = write_own(tmp_path / name, IDS, values)
        found[name] = open_teacher(path, Set(IDS, "abc")).fingerprint
    assert found["a"] == found["b"] != found["c"]


def test_ids_of_millions_of_clips_are_matched(tmp_path):
    # Arrow cuts columns of more than 16 MB into chunks.
    data = Set((f"{'x' * 55}{i}" for i in range(300_000)), "a")
    path = write_own(tmp_path, data.id, np.zeros((300_000, 1)), names="a")
    assert open_teacher(path, data).coverage == 1


def test_a_single_label_teacher_gives_softmax(tmp_path):
    logits = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float16)
    path = write_own(tmp_path, "ab", logits, multi_label=False)
    data = Set("ab", "abc", multi_label=False)
    found, _ = open_teacher(path, data, temperature=0.5).probabilities(np.arange(2))
    exp = np.exp(logits.astype(float) / 0.5)
    np.testing.assert_allclose(found, exp / exp.sum(1, keepdims=True), atol=1e-6)


def test_threads_share_a_teacher(tmp_path):
    ids = [f"clip{i}" for i in range(500)]
    logits = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float16)
    teacher = open_teacher(write_own(tmp_path, ids, logits), Set(ids, "abc"))
    batches = [np.random.default_rng(i).integers(500, size=64) for i in range(200)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(teacher.probabilities, batches))
    for rows, (outputs, has) in zip(batches, found, strict=True):
        assert has.all()
        np.testing.assert_allclose(outputs, sigmoid(logits[rows]), atol=1e-6)


def test_logits_that_are_not_numbers_name_their_clip(tmp_path):
    ids = [f"clip{i}" for i in range(5000)]
    logits = np.zeros((5000, 3))
    logits[7, 1] = np.nan
    teacher = open_teacher(write_own(tmp_path, ids, logits), Set(ids, "abc"))
    teacher.probabilities(np.array([6, 8]))
    with pytest.raises(ValueError, match="logits of clip 'clip7' are not finite"):
        teacher.probabilities(np.array([6, 7]))


def without_logits(path):
    (path / "logits.npy").unlink()


def cut(path):
    whole = (path / "logits.npy").read_bytes()
    (path / "logits.npy").write_bytes(whole[:-2])


def transposed(path):
    np.save(path / "logits.npy", np.zeros((3, 2), np.float16))


def without_index(path):
    (path / "index.parquet").unlink()


def about(text):
    return lambda path: (path / "about.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_logits, "holds embeddings without logits; make it with .* --logits"),
        (cut, r"logits.npy cannot be read \(mmap length .* is it whole"),
        (transposed, r"has the shape \(3, 2\), expected \(2, 3\)"),
        (without_index, "is damaged .*make it again"),
        (about("{}"), r"is damaged \(KeyError\('labels'\)\); make it again"),
        (about("[1]"), r"is damaged \(TypeError\(.*\)\); make it again"),
        (
            about('{"labels": [], "multi_label": true}'),
            r"damaged \(IndexError.*make it",
        ),
    ],
)
def test_damaged_own_logits_are_refused(tmp_path, damage, message):
    path = write_own(tmp_path, "ab", np.zeros((2, 3)))
    damage(path)
    with pytest.raises(ValueError, match=message):
        open_teacher(path, Set("ab", "abc"))


@pytest.mark.parametrize(
    ("ids", "names", "multi_label", "message"),
    [
        ("ab", "acb", True, "has 3 multi-label classes from 'a' to 'c'.* to 'b'"),
        ("ab", "ab", True, "SET has 2 multi-label classes from 'a' to 'b'"),
        ("ab", "abc", False, "SET has 3 single-label classes"),
        ("xy", "abc", True, "logits of none of the 2 clips of SET, such as 'x'"),
    ],
)
def test_own_logits_of_another_set_are_refused(
    tmp_path, ids, names, multi_label, message
):
    path = write_own(tmp_path, "ab", np.zeros((2, 3)))
    with pytest.raises(ValueError, match=message):
        open_teacher(path, Set(ids, names, multi_label=multi_label))


def test_what_is_no_teacher_is_refused(tmp_path):
    message = (
        "holds no teacher's logits; expected a folder written by `aemjax embed "
        "--logits`, .*passt_enemble_logits_mAP_495.npy and .*, or CED's logits.zip"
    )
    (tmp_path / "a.txt").write_text("a")
    for path in (tmp_path, tmp_path / "a.txt", tmp_path / "no", tmp_path / "no.npy"):
        with pytest.raises(ValueError, match=message):
            open_teacher(path, Set(IDS))


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(tmp_path, temperature):
    with pytest.raises(ValueError, match="temperature is .*, expected a positive"):
        open_teacher(tmp_path, Set(IDS), temperature=temperature)


def test_coverage_is_logged_and_a_shifted_index_shows(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = Set([f"clip{i}" for i in range(300)], "abc")
    logits = 4 * data.labels_multi_hot(np.arange(300)) - 2
    open_teacher(write_own(tmp_path, data.id[:150], logits[:150]), data)
    (record,) = caplog.records
    assert "logits of 150 of 300 clips (50.0 %)" in record.message
    assert "is a label of 100.0 % of them, by chance of 33.3 %" in record.message
    caplog.clear()
    open_teacher(write_own(tmp_path, np.roll(data.id, 1), logits), data)
    assert "is a label of 0.0 % of them" in caplog.records[0].message
    assert "hardly better than chance" in caplog.records[1].message
