"""Official splits and folds, and drawn ones."""

import copy

import numpy as np
import pytest

from aemjax.data import splits
from aemjax.data.splits import Protocol


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
    protocol = Protocol("official", folds=9, seed=4)
    divisions = splits.divide(official, protocol)
    assert [division.number for division in divisions] == [1, 2, 3, 7]
    for division in divisions:
        held_out = official.fold == division.number
        np.testing.assert_array_equal(division.eval, np.flatnonzero(held_out))
        np.testing.assert_array_equal(division.train, np.flatnonzero(~held_out))
        assert division.shared_groups == ()
    assert protocol.describe(official) == "official 4 folds"


def test_official_lists_say_which_groups_they_share(set_of):
    rows = [("ab"[i % 2], "train", 0, f"p{i // 3}") for i in range(9)]
    rows += [("ab"[i % 2], "test", 0, f"p{2 + i // 2}") for i in range(6)]
    data = set_of([*rows, ("a", "unused", 0, "p0")])
    with pytest.raises(
        ValueError, match="neither official folds nor official lists; set data.protocol"
    ):
        splits.divide(data, Protocol("official"))
    data.manifest["official"] = ["train", "test"]
    (division,) = splits.divide(data, Protocol("official"))
    np.testing.assert_array_equal(division.train, np.flatnonzero(data.split == "train"))
    np.testing.assert_array_equal(division.eval, np.flatnonzero(data.split == "test"))
    assert division.shared_groups == ("p2",)
    assert Protocol("official").describe(data) == "official train -> test"


def test_folds_part_the_set_by_class_and_group(grouped):
    divisions = splits.divide(grouped, Protocol("kfold", folds=5))
    assert [division.number for division in divisions] == [1, 2, 3, 4, 5]
    for division in divisions:
        assert sorted([*division.train, *division.eval]) == list(range(45))
        assert not set(grouped.group[division.train]) & set(
            grouped.group[division.eval]
        )
        assert grouped.labels_multi_hot(division.eval).sum(axis=0).tolist() == [6, 3]
        assert division.shared_groups == ()
    held_out = np.concatenate([division.eval for division in divisions])
    assert sorted(held_out) == list(range(45))
    assert Protocol("kfold", folds=5, seed=2).describe(grouped) == (
        "5 stratified folds by seed 2, no group on both sides"
    )


def test_folds_that_disregard_groups(grouped):
    divisions = splits.divide(grouped, Protocol("kfold", grouped=False))
    for division in divisions:
        assert grouped.labels_multi_hot(division.eval).sum(axis=0).tolist() == [6, 3]
        both = set(grouped.group[division.train]) & set(grouped.group[division.eval])
        assert set(division.shared_groups) == both
    assert any(division.shared_groups for division in divisions)


@pytest.mark.parametrize("in_groups", [True, False])
def test_draws_are_independent(grouped, in_groups):
    protocol = Protocol("draws", folds=6, seed=1, grouped=in_groups)
    divisions = splits.divide(grouped, protocol)
    assert [division.number for division in divisions] == [1, 2, 3, 4, 5, 6]
    for division in divisions:
        assert sorted([*division.train, *division.eval]) == list(range(45))
        assert grouped.labels_multi_hot(division.eval).sum(axis=0).tolist() == [6, 3]
        assert bool(division.shared_groups) != in_groups
    # Unlike folds, six draws of a fifth must overlap, and none is another again.
    drawn = [tuple(division.eval) for division in divisions]
    assert len(set(drawn)) == 6
    groups = "no group on both sides" if in_groups else "groups disregarded"
    assert protocol.describe(grouped) == f"6 stratified 80/20 draws by seed 1, {groups}"


def test_no_group_is_drawn_more_than_by_chance(set_of):
    """A group of four times the clips is evaluated in about a fifth of the draws."""
    rows = [("ab"[i % 2], "full", 0, "large") for i in range(8)]
    rows += [("ab"[i % 2], "full", 0, f"g{i // 2}") for i in range(32)]
    data = set_of(rows)
    divisions = splits.divide(data, Protocol("draws", folds=50))
    drawn = [set(data.group[division.eval]) for division in divisions]
    assert all(len(division.eval) == 8 for division in divisions)
    assert 1 <= sum("large" in groups for groups in drawn) <= 25
    assert all(any(f"g{i}" in groups for groups in drawn) for i in range(16))


@pytest.mark.parametrize("name", ["kfold", "draws"])
@pytest.mark.parametrize("in_groups", [True, False])
def test_divisions_are_a_function_of_ids_and_seed(grouped, name, in_groups):
    def draw(seed):
        protocol = Protocol(name, seed=seed, grouped=in_groups)
        return [sorted(grouped.id[d.eval]) for d in splits.divide(grouped, protocol)]

    first = draw(3)
    assert first == draw(3)
    assert first != draw(4)
    # Where the clips lie on disk does not matter.
    order = np.random.default_rng(0).permutation(len(grouped))
    shuffled = copy.copy(grouped)
    for field in ("id", "group", "split", "fold", "label_ids"):
        setattr(shuffled, field, getattr(grouped, field)[order])
    protocol = Protocol(name, seed=3, grouped=in_groups)
    again = [sorted(shuffled.id[d.eval]) for d in splits.divide(shuffled, protocol)]
    assert again == first


def test_clips_without_groups_are_groups_of_their_own(set_of):
    data = set_of([("ab"[i % 2], "full", 0, "") for i in range(20)])
    for division in splits.divide(data, Protocol("kfold")):
        assert data.labels_multi_hot(division.eval).sum(axis=0).tolist() == [2, 2]


def test_folds_go_across_splits(set_of):
    """Patient-disjoint folds of a set with official lists are over all of it."""
    data = set_of(
        [("ab"[i % 2], ("train", "test")[i % 3 > 1], 0, "") for i in range(30)]
    )
    divisions = splits.divide(data, Protocol("kfold"))
    assert sorted(np.concatenate([d.eval for d in divisions])) == list(range(30))


def test_too_few_clips_for_folds(set_of):
    data = set_of([(label, "full", 0, "") for label in "aaaaaabbb"])
    with pytest.raises(
        ValueError, match="class 'b' has 3 clips, too few for 5 stratified folds; ask"
    ):
        splits.divide(data, Protocol("kfold"))
    assert len(splits.divide(data, Protocol("kfold", folds=3))) == 3
    with pytest.raises(ValueError, match="has 3 clips, too few for 5"):
        splits.divide(data, Protocol("draws", folds=2))


def test_too_few_groups_for_folds(set_of):
    data = set_of([("ab"[i % 2], "full", 0, f"p{i % 4}") for i in range(24)])
    for name in ("kfold", "draws"):
        with pytest.raises(ValueError, match="has 4 groups, too few for 5 folds with"):
            splits.divide(data, Protocol(name))
        assert len(splits.divide(data, Protocol(name, grouped=False))) == 5
    assert len(splits.divide(data, Protocol("kfold", folds=4))) == 4


def test_folds_of_several_labels(set_of):
    """Class b is never the first of a clip."""
    data = set_of([(("a;b", "c")[i % 2], "full", 0, "") for i in range(10)])
    for division in splits.divide(data, Protocol("kfold")):
        assert data.labels_multi_hot(division.eval).sum(axis=0).tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["kfold", "draws"])
def test_rare_labels_beside_others_are_shared_too(set_of, name):
    """By no clip's first label, b would be known; some clips have the rarest alone."""
    rows = [("a;b", "full", 0, "")] * 50 + [("b", "full", 0, "")] * 3
    rows += [("a;b;c", "full", 0, "")] * 10 + [("c", "full", 0, "")] * 2
    data = set_of(rows)
    for division in splits.divide(data, Protocol(name)):
        a, b, c = data.labels_multi_hot(division.eval).sum(axis=0)
        assert abs(a - 12) <= 2 and abs(b - 12.6) <= 1.6 and 2 <= c <= 3


@pytest.mark.parametrize("in_groups", [True, False])
def test_every_draw_has_its_share_of_every_class(set_of, in_groups):
    data = set_of([(f"c{i % 20:02}", "full", 0, "") for i in range(100)])
    for division in splits.divide(data, Protocol("draws", grouped=in_groups)):
        assert data.labels_multi_hot(division.eval).sum(axis=0).tolist() == [1] * 20
    before, after = held_out(data, share=0.25, grouped=in_groups)
    total, drawn = (
        data.labels_multi_hot(rows).sum(axis=0)
        for rows in (before.train, after.validation)
    )
    assert abs(drawn - 0.25 * total).max() < 1 and drawn.sum() == 20


def test_draws_of_groups_are_near_their_share_of_every_class(set_of):
    """Groups of 1 to 6 clips of a class, as the sources of ESC-50."""
    sizes = np.random.default_rng(0).integers(1, 7, 400)
    rows = [
        (f"c{i % 20:02}", "full", 0, f"g{i}")
        for i, size in enumerate(sizes)
        for _ in range(size)
    ]
    data = set_of(rows)
    total = data.labels_multi_hot(np.arange(len(data))).sum(axis=0)
    for division in splits.divide(data, Protocol("draws")):
        drawn = data.labels_multi_hot(division.eval).sum(axis=0)
        assert abs(drawn - 0.2 * total).max() <= 3.5


def test_a_class_that_does_not_train_is_of_no_matter(set_of):
    data = set_of([("abc"[min(i % 4, 2)], "full", 0, f"g{i // 9}") for i in range(180)])
    rows = np.flatnonzero(data.label_ids != 1)
    division = splits.Division(1, rows, np.flatnonzero(data.label_ids == 1))
    after = splits.hold_out(data, division, share=0.2, seed=0, grouped=True)
    a, b, c = data.labels_multi_hot(after.validation).sum(axis=0)
    assert abs(a - 9) <= 2 and b == 0 and abs(c - 18) <= 2


def test_two_groups_are_parted(set_of):
    data = set_of([("ab"[i % 2], "full", 0, f"g{i % 10 // 5}") for i in range(40)])
    for share in (0.05, 0.95):
        _, after = held_out(data, share=share)
        assert len(set(data.group[after.validation])) == 1
        assert len(set(data.group[after.train])) == 1


def test_folds_are_numbered_for_all_clips_or_none(set_of):
    data = set_of([("ab"[i % 2], "full", i % 3, "") for i in range(12)])
    with pytest.raises(ValueError, match="4 of 12 clips have no fold, the first: '"):
        splits.divide(data, Protocol("official"))


def test_lists(official):
    protocol = Protocol("lists", train="full:1,3", eval="full:2+extra")
    (division,) = splits.divide(official, protocol)
    assert set(official.fold[division.train]) == {1, 3}
    assert set(official.fold[division.eval]) == {2, 7}
    assert protocol.describe(official) == "full:1,3 -> full:2+extra"
    with pytest.raises(ValueError, match="4 clips are both trained and evaluated on"):
        splits.divide(official, Protocol("lists", train="full", eval="full:2"))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "random"}, "unknown protocol 'random'; known: .'official', 'kfold'"),
        ({"name": "kfold", "folds": 1}, "folds is 1, expected at least 2"),
        (
            {"name": "lists", "train": "a"},
            "'lists' with train 'a' and eval '': 'lists'",
        ),
        ({"name": "kfold", "train": "a", "eval": "b"}, "'lists', and no other, takes"),
    ],
)
def test_a_protocol_that_is_none(options, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**options)


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


# Clips to select and calibrate on.


def held_out(data, *, share=0.2, seed=0, grouped=True, number=1):
    rows = np.arange(len(data))
    division = splits.Division(number, rows[rows % 5 != 4], rows[rows % 5 == 4])
    options = {"share": share, "seed": seed, "grouped": grouped}
    return division, splits.hold_out(data, division, **options)


def test_validation_is_a_part_of_what_trained_in_which_every_class_has_its_share(
    grouped,
):
    before, after = held_out(grouped)
    both = np.sort(np.concatenate([after.train, after.validation]))
    np.testing.assert_array_equal(both, before.train)
    np.testing.assert_array_equal(after.eval, before.eval)
    assert not set(grouped.group[after.train]) & set(grouped.group[after.validation])
    labels = grouped.labels_multi_hot(before.train).sum(axis=0)
    found = grouped.labels_multi_hot(after.validation).sum(axis=0)
    np.testing.assert_allclose(found / labels, 0.2, atol=0.06)


def test_validation_is_a_function_of_the_seed_and_the_division(grouped):
    first = held_out(grouped)[1].validation
    np.testing.assert_array_equal(held_out(grouped)[1].validation, first)
    for change in ({"seed": 1}, {"number": 2}):
        other = held_out(grouped, **change)[1].validation
        assert not np.array_equal(other, first)


def test_validation_may_disregard_groups(grouped):
    _, after = held_out(grouped, grouped=False, share=0.5)
    assert set(grouped.group[after.train]) & set(grouped.group[after.validation])
    assert len(after.validation) == 18


@pytest.mark.parametrize("share", [-0.1, 0, 1, 1.5])
def test_validation_of_no_share_or_all(grouped, share):
    with pytest.raises(ValueError, match=f"validation_share is {share}, expected betw"):
        held_out(grouped, share=share)


def test_validation_needs_two_groups(set_of):
    data = set_of([("a", "full", 0, "one")] * 10)
    with pytest.raises(ValueError, match="all 8 clips to train on are of one group"):
        held_out(data)
