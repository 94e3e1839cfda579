"""Official splits and folds, and drawn ones."""

import numpy as np
import pytest

from aemjax.data import splits


@pytest.fixture(scope="module")
def official(set_of):
    """Split "full" has folds 1 to 3, "extra" fold 7."""
    rows = [("ab"[i % 2], "full", 1 + i % 3, "") for i in range(12)]
    return set_of([*rows, ("a", "extra", 7, ""), ("b", "extra", 7, "")])


@pytest.fixture(scope="module")
def grouped(set_of):
    """30 clips of a, 15 of b, in groups of three of one class; no folds."""
    rows = [("a", "full", 0, f"a{i // 3}") for i in range(30)]
    return set_of(rows + [("b", "full", 0, f"b{i // 3}") for i in range(15)])


@pytest.mark.parametrize(
    "spec, want",
    [
        ("full", lambda split, fold: split == "full"),
        ("extra", lambda split, fold: split == "extra"),
        ("full+extra", lambda split, fold: fold > 0),
        ("extra+full", lambda split, fold: fold > 0),
        ("full:2", lambda split, fold: fold == 2),
        ("full:1,3", lambda split, fold: (fold == 1) | (fold == 3)),
        ("full:1+extra:7", lambda split, fold: (fold == 1) | (fold == 7)),
        ("full+full:1", lambda split, fold: split == "full"),
    ],
)
def test_by_split(official, spec, want):
    found = splits.by_split(official, spec)
    np.testing.assert_array_equal(
        found, np.flatnonzero(want(official.split, official.fold))
    )
    assert len(found)


@pytest.mark.parametrize(
    "spec, part",
    [
        ("test", "test"),
        ("full+test", "test"),
        ("full:4", "full:4"),
        ("full:1,4", "full:4"),
        ("extra:1", "extra:1"),
        ("", ""),
    ],
)
def test_by_split_without_such_clips(official, spec, part):
    known = r"splits and folds: \{'full': \[1, 2, 3\], 'extra': \[7\]\}"
    with pytest.raises(ValueError, match=f"has no clips in '{part}'; its {known}"):
        splits.by_split(official, spec)


def test_official_folds(official):
    assert official.has_folds
    assert splits.fold_numbers(official, folds=10) == [1, 2, 3, 7]
    for seed in (0, 1):
        train, held_out = splits.by_fold(official, 2, folds=5, seed=seed)
        np.testing.assert_array_equal(held_out, np.flatnonzero(official.fold == 2))
        np.testing.assert_array_equal(train, np.flatnonzero(official.fold != 2))
    with pytest.raises(ValueError, match=r"has no fold 4; it has \[1, 2, 3, 7\]"):
        splits.by_fold(official, 4)


def test_drawn_folds_part_the_set_by_class_and_group(grouped):
    assert splits.fold_numbers(grouped, folds=5) == [1, 2, 3, 4, 5]
    seen = []
    for fold in range(1, 6):
        train, held_out = splits.by_fold(grouped, fold, folds=5, seed=0)
        assert sorted([*train, *held_out]) == list(range(45))
        assert not set(grouped.group[train]) & set(grouped.group[held_out])
        assert grouped.labels_multi_hot(held_out).sum(axis=0).tolist() == [6, 3]
        seen += held_out.tolist()
    assert sorted(seen) == list(range(45))
    with pytest.raises(ValueError, match=r"has no fold 6; it has \[1, 2, 3, 4, 5\]"):
        splits.by_fold(grouped, 6)


def test_drawn_folds_are_a_function_of_the_seed(grouped):
    def draw(seed):
        return splits.by_fold(grouped, 1, seed=seed)[1].tolist()

    assert draw(3) == draw(3)
    assert len({tuple(draw(seed)) for seed in range(5)}) > 1


def test_drawn_folds_without_groups(set_of):
    data = set_of([("ab"[i % 2], "full", 0, "") for i in range(20)])
    for fold in range(1, 6):
        _, held_out = splits.by_fold(data, fold)
        assert data.labels_multi_hot(held_out).sum(axis=0).tolist() == [2, 2]


def test_too_few_clips_for_folds(set_of):
    data = set_of([(label, "full", 0, "") for label in "aaaaaabbb"])
    with pytest.raises(
        ValueError, match="class 'b' has 3 clips, too few for 5 stratified folds; ask"
    ):
        splits.by_fold(data, 1)
    assert len(splits.by_fold(data, 1, folds=3)[1]) == 3


def test_drawn_folds_of_several_labels(set_of):
    """Class b is never the first of a clip."""
    data = set_of([(("a;b", "c")[i % 2], "full", 0, "") for i in range(10)])
    for fold in range(1, 6):
        _, held_out = splits.by_fold(data, fold)
        assert data.labels_multi_hot(held_out).sum(axis=0).tolist() == [1, 1, 1]


def test_folds_are_not_drawn_across_official_splits(set_of):
    data = set_of(
        [("ab"[i % 2], ("train", "test")[i % 3 > 1], 0, "") for i in range(30)]
    )
    with pytest.raises(ValueError, match=r"has the splits \['test', 'train'\]; folds"):
        splits.by_fold(data, 1)


def test_folds_are_numbered_for_all_clips_or_none(set_of):
    data = set_of([("ab"[i % 2], "full", i % 3, "") for i in range(12)])
    with pytest.raises(ValueError, match="4 of 12 clips have no fold, the first: '"):
        splits.by_fold(data, 1)


def test_no_clip_and_no_group_is_on_both_sides(set_of):
    data = set_of([("ab"[i % 2], "full", 0, f"g{i // 4}") for i in range(12)])
    (first,), second = (
        np.nonzero(data.group == "g0"),
        np.flatnonzero(data.group == "g1"),
    )
    splits.check_disjoint(data, first, second)
    with pytest.raises(ValueError, match="2 clips are both trained and evaluated on"):
        splits.check_disjoint(data, first, np.append(second, first[:2]))
    with pytest.raises(ValueError, match="1 groups are both .*, the first: 'g0'"):
        splits.check_disjoint(data, first[:2], np.append(second, first[2:]))
