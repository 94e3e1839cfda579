"""Equal strings in an index, against Python's own sets."""

import collections

import numpy as np
import pytest

from aemjax.data import duplicates
from aemjax.data.duplicates import EqualAudio
from tests.aemjax.data.altered import altered

NOTHING = EqualAudio(0, 0, 0, 0, 0, ())


@pytest.fixture(scope="module")
def twelve(set_of):
    """12 clips of classes a, b and c in folds 1 to 3."""
    return set_of([("abc"[i % 3], "full", 1 + i % 3, "") for i in range(12)])


def test_counts():
    words = np.array(["b", "", "a", "b", "", "b"])
    assert duplicates.counts(words) == {"": 2, "a": 1, "b": 3}
    assert list(duplicates.counts(words)) == ["", "a", "b"]
    assert duplicates.counts(words[:0]) == {}


@pytest.mark.parametrize("seed", range(3))
def test_shared_rows(seed):
    rng = np.random.default_rng(seed)
    words = rng.choice(["", *"abcdefgh"], 20)
    rows = rng.permutation(20)
    a, b = rows[:5], rows[5:12]
    ours, theirs = duplicates.shared_rows(words, a, b)
    assert set(ours) <= set(a) and set(theirs) <= set(b)
    np.testing.assert_array_equal(words[ours], words[theirs])
    assert sorted(words[theirs]) == sorted(set(words[a]) & set(words[b]) - {""})


def test_shared_rows_of_an_empty_side():
    words, none = np.array(["a", "a"]), np.array([], int)
    for a, b in (([0], none), (none, [1]), (none, none)):
        ours, theirs = duplicates.shared_rows(words, np.array(a), np.array(b))
        assert (len(ours), len(theirs)) == (0, 0)


def test_no_equal_audio(twelve):
    assert duplicates.equal_audio(twelve) == NOTHING


def test_equal_audio(twelve, tmp_path):
    """Rows 0, 5, 9; rows 1, 2; rows 3, 4 differ in labels, in split, in fold."""
    digest = [*"xyyzz", "x", *"abc", "x", *"de"]
    data = altered(
        twelve,
        tmp_path / "set",
        digest=digest,
        labels=[[0, 1], [2], [2], [1], [1], [1, 0], [0], [0], [0], [2], [0], [0]],
        split=["full", "full", "more"] + ["full"] * 9,
        fold=[1, 1, 1, 2, 3, 1, 1, 1, 1, 1, 1, 1],
    )
    ids = data.id.tolist()
    assert duplicates.equal_audio(data) == EqualAudio(
        clips=7,
        recordings=3,
        other_labels=1,
        across_splits=1,
        across_folds=1,
        examples=(
            (ids[0], ids[5], ids[9]),
            (ids[1], ids[2]),
            (ids[3], ids[4]),
        ),
    )
    same = altered(data, tmp_path / "same", labels=[[0, 1]] * 5 + [[1, 0]] * 7)
    assert duplicates.equal_audio(same).other_labels == 0


def test_silence_is_no_copy_of_silence(twelve, tmp_path):
    silent = altered(twelve, tmp_path / "set", digest=["x"] * 12, std=[0.0] * 12)
    assert duplicates.equal_audio(silent) == NOTHING
    std = [0.0] * 10 + [0.1, 0.1]
    two = altered(twelve, tmp_path / "set", digest=["x"] * 12, std=std)
    assert duplicates.equal_audio(two).clips == 2


def test_few_of_many_copies_are_named(twelve, tmp_path):
    data = altered(twelve, tmp_path / "set", digest=["x"] * 12)
    found = duplicates.equal_audio(data)
    assert (found.clips, found.recordings) == (12, 1)
    assert [len(ids) for ids in found.examples] == [duplicates.EXAMPLES]
    assert collections.Counter(found.examples[0]).most_common(1)[0][1] == 1
