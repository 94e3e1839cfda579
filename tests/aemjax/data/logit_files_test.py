"""EfficientAT's files, against what its ex_audioset.py makes of them."""

import pickle

import numpy as np
import pytest

from aemjax.data.teachers import open_teacher
from tests.aemjax.data.stored import AUDIOSET, IDS, YTIDS, Set, sigmoid


def write_efficientat(folder, index, logits):
    np.save(folder / "passt_enemble_logits_mAP_495.npy", logits)
    (folder / "fname_to_index.pkl").write_bytes(pickle.dumps(index))
    return folder


@pytest.mark.parametrize("number", [int, np.int64], ids=["int", "numpy"])
def test_efficientat_is_matched_by_youtube_id(tmp_path, number):
    logits = np.random.default_rng(0).normal(size=(5, 527)).astype(np.float16)
    index = {YTIDS[2]: number(4), YTIDS[0]: number(1), "elsewhere-1": number(0)}
    index |= {YTIDS[3]: number(2)}
    write_efficientat(tmp_path, index, logits)
    for path in (tmp_path, tmp_path / "passt_enemble_logits_mAP_495.npy"):
        teacher = open_teacher(path, Set(IDS), temperature=1.5)
        assert teacher.coverage == 0.75
        found, has = teacher.probabilities(np.arange(4))
        assert has.tolist() == [True, False, True, True]
        expected = sigmoid(logits[[1, 0, 4, 2]].astype(float) / 1.5)
        expected[1] = 0
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_several_clips_of_a_video_are_left_out(tmp_path):
    index = {name: row for row, name in enumerate((*YTIDS, "nor one here"))}
    path = write_efficientat(tmp_path, index, np.zeros((5, 527), np.float16))
    data = Set([*IDS, "-aaaaaaaaaa_30", "no YouTube id"])
    _, has = open_teacher(path, data).probabilities(np.arange(6))
    assert has.tolist() == [False, True, True, True, False, False]


def test_ids_of_millions_of_clips_are_matched(tmp_path):
    # Arrow cuts columns of more than 16 MB into chunks.
    data = Set([*(f"{'x' * 55}{i}" for i in range(300_000)), *IDS])
    path = write_efficientat(tmp_path, {YTIDS[3]: 0}, np.zeros((1, 527), np.float16))
    _, has = open_teacher(path, data).probabilities(np.arange(299_998, 300_004))
    assert has.tolist() == [False, False, False, False, False, True]


def test_a_pickle_that_asks_for_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    path = write_efficientat(tmp_path, {YTIDS[0]: Evil()}, np.zeros((4, 527)))
    with pytest.raises(ValueError, match="asks for builtins.print.*fetch it again"):
        open_teacher(path, Set(IDS))


@pytest.mark.parametrize(
    ("index", "shape", "message"),
    [
        ({YTIDS[0]: 4}, (4, 527), "names the rows 4 to 4, .*npy has 4; fetch both"),
        ({YTIDS[0]: -1}, (4, 527), "names the rows -1 to -1"),
        ({0: 0}, (4, 527), "pkl is not a dict of names and numbers"),
        ({YTIDS[0]: "x"}, (4, 527), "pkl is not a dict of names and numbers"),
        ([1, 2], (4, 527), "pkl is not a dict of names and numbers"),
        ({YTIDS[0]: 0}, (4, 521), r"shape \(4, 521\), expected \(clips, 527\)"),
        ({YTIDS[0]: 0}, (), r"shape \(\), expected \(clips, 527\)"),
        ({YTIDS[0]: 0}, (527,), r"shape \(527,\), expected \(clips, 527\)"),
        ({"elsewhere-1": 0}, (4, 527), "logits of none of the 4 clips of SET"),
        ({}, (4, 527), "logits of none of the 4 clips of SET"),
    ],
)
def test_bad_files_of_efficientat_are_refused(tmp_path, index, shape, message):
    path = write_efficientat(tmp_path, index, np.zeros(shape, np.float16))
    with pytest.raises(ValueError, match=message):
        open_teacher(path, Set(IDS))


def test_half_of_efficientats_files_is_refused(tmp_path):
    write_efficientat(tmp_path, {YTIDS[0]: 0}, np.zeros((1, 527)))
    pickled = (tmp_path / "fname_to_index.pkl").read_bytes()
    (tmp_path / "fname_to_index.pkl").write_bytes(pickled[:-9])
    with pytest.raises(ValueError, match="pkl is not a dict of names and numbers"):
        open_teacher(tmp_path, Set(IDS))
    (tmp_path / "fname_to_index.pkl").unlink()
    with pytest.raises(
        ValueError, match="fname_to_index.pkl is missing; it says whose"
    ):
        open_teacher(tmp_path, Set(IDS))


@pytest.mark.parametrize(
    "data",
    [
        Set(IDS, AUDIOSET[:12]),
        Set(IDS, sorted(AUDIOSET)),
        Set(IDS, AUDIOSET, multi_label=False),
    ],
    ids=["fewer", "another order", "single-label"],
)
def test_public_logits_need_audiosets_classes_in_its_order(tmp_path, data):
    path = write_efficientat(tmp_path, {YTIDS[0]: 0}, np.zeros((1, 527)))
    with pytest.raises(
        ValueError, match="about AudioSet's 527 classes in the order of"
    ):
        open_teacher(path, data)
