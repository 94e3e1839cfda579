import numpy as np
import pytest
from scipy import stats

from aemjax.train import intervals


def mean_of(values):
    return lambda rows: {"mean": float(np.mean(values[rows]))}


def test_intervals_are_scipys():
    values = np.random.default_rng(1).exponential(size=30)
    found = intervals.bootstrap(mean_of(values), np.arange(30), resamples=200, seed=3)
    reference = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=200,
        batch=100,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert found["mean"] == pytest.approx([reference.low, reference.high], rel=1e-12)


def test_a_proportion_has_the_width_that_theory_gives():
    values = np.arange(400) % 2
    found = intervals.bootstrap(mean_of(values), np.arange(400), resamples=2000)
    half = 1.96 * np.sqrt(0.25 / 400)
    assert found["mean"] == pytest.approx([0.5 - half, 0.5 + half], abs=0.005)


def test_two_clips_give_a_hand_computed_interval():
    # Means 0, 1/2 and 1 with probabilities 1/4, 1/2 and 1/4.
    values = np.array([0.0, 1.0])
    found = intervals.bootstrap(mean_of(values), np.arange(2), resamples=100)
    assert found == {"mean": [0.0, 1.0]}


def test_copies_of_a_clip_in_its_group_add_no_certainty():
    values = np.random.default_rng(1).normal(size=20)
    alone = intervals.bootstrap(mean_of(values), np.arange(20), resamples=100)
    order = np.random.default_rng(2).permutation(100)
    copies, groups = np.repeat(values, 5)[order], np.repeat(np.arange(20), 5)[order]
    together = intervals.bootstrap(mean_of(copies), groups, resamples=100)
    assert together["mean"] == pytest.approx(alone["mean"], rel=1e-12)
    apart = intervals.bootstrap(mean_of(copies), np.arange(100), resamples=100)
    assert np.diff(apart["mean"]) < 0.7 * np.diff(alone["mean"])


def test_a_group_is_drawn_whole_and_as_many_groups_as_there_are():
    groups = np.array(["b", "a", "b", "c", "c", "c"])
    sizes = {"a": 1, "b": 2, "c": 3}
    drawn = []

    def statistic(rows):
        drawn.append(rows)
        return {"x": 0.0}

    intervals.bootstrap(statistic, groups, resamples=50)
    assert len(drawn) == 51  # all clips once, then each resample once
    np.testing.assert_array_equal(drawn[0], np.arange(6))
    for rows in drawn:
        counts = np.bincount(rows, minlength=6)
        of = {name: set(counts[groups == name]) for name in sizes}
        assert all(len(values) == 1 for values in of.values())
        assert sum(values.pop() for values in of.values()) == 3


def test_all_metrics_share_the_resamples():
    values = np.random.default_rng(1).normal(size=15)

    def statistic(rows):
        mean = float(np.mean(values[rows]))
        return {"mean": mean, "opposite": -mean}

    found = intervals.bootstrap(statistic, np.arange(15), resamples=60)
    assert found["opposite"] == pytest.approx([-x for x in reversed(found["mean"])])


def test_the_seed_decides():
    def draw(seed):
        values = np.random.default_rng(1).normal(size=15)
        return intervals.bootstrap(
            mean_of(values), np.arange(15), resamples=60, seed=seed
        )

    assert draw(1) == draw(1) != draw(2)


@pytest.mark.parametrize(("clips_of_it", "is_defined"), [(1, False), (5, True)])
def test_a_metric_that_resamples_lack(clips_of_it, is_defined):
    """A class of 1 clip in 20 is in 64 % of the resamples, one of 5 in 99.7 %."""
    values = np.where(np.arange(20) < clips_of_it, 0.25, 0.75)

    def statistic(rows):
        found = {"all": float(np.mean(values[rows]))}
        of_class = values[rows][values[rows] == 0.25]
        return found | ({"class": float(of_class.mean())} if len(of_class) else {})

    found = intervals.bootstrap(statistic, np.arange(20), resamples=1000)
    assert found["class"] == ([0.25, 0.25] if is_defined else None)
    assert found["all"][0] < found["all"][1]


def test_too_few_resamples():
    with pytest.raises(ValueError, match="resamples is 39; a 95 % .* at least 40"):
        intervals.bootstrap(mean_of(np.ones(3)), np.arange(3), resamples=39)


def test_one_group_has_no_interval():
    found = intervals.bootstrap(mean_of(np.ones(3)), np.zeros(3), resamples=40)
    assert list(found.values()) == [None]


def test_seeds_of_a_fold_count_as_one_where_there_are_several_folds():
    values, folds = [1.0, 4.0, 3.0, 8.0], [1, 2, 1, 2]
    assert intervals.over_folds(values, folds) == [2.0, 6.0]
    assert intervals.over_folds(values, [3, 3, 3, 3]) == values


def test_fold_interval_of_a_hand_computed_case():
    # Mean 2, deviation 1, Student's t of 2 degrees of freedom 4.302653.
    half = 4.302653 / np.sqrt(3)
    found = intervals.fold_interval([1, 2, 3])
    assert found == pytest.approx((2 - half, 2 + half), abs=1e-6)


def test_fold_interval_of_one_fold_of_none_and_of_equal_ones():
    assert intervals.fold_interval([0.5]) is None
    assert intervals.fold_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    with pytest.raises(ValueError, match="no folds, so no interval"):
        intervals.fold_interval([])
