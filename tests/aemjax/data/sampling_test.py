"""Draws: as likely as their weights say, and functions of the seed and the epoch."""

import numpy as np
import pytest
import scipy.stats

from aemjax.data import sampling
from aemjax.data.prepared import PreparedSet


class Set(PreparedSet):
    """A set of labels alone."""

    def __init__(self, labels, names="abc"):
        self.label_names = tuple(names)
        self.label_ids = np.array([i for row in labels for i in row], np.int32)
        self.label_offsets = np.append(0, np.cumsum([len(row) for row in labels]))


LABELS = [[0]] * 6 + [[0, 1]] * 3 + [[2]] + [[]] + [[0, 1, 2]]


def test_balanced_weights_by_hand():
    rows = np.array([0, 7, 9, 10, 11, 8])  # a: 0 7 11 8; b: 7 11 8; c: 9 11
    a, b, c = 1000 / 104, 1000 / 103, 1000 / 102
    found = sampling.class_balanced_weights(Set(LABELS), rows)
    expected = [a, a + b, c, a, a + b + c, a + b]  # 10 has no label
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = sampling.class_balanced_weights(Set(LABELS), rows, offset=1)
    a, b, c = 1000 / 5, 1000 / 4, 1000 / 3
    np.testing.assert_allclose(found, [a, a + b, c, a, a + b + c, a + b], rtol=1e-12)


def test_every_clip_is_drawn_in_proportion_to_its_weight():
    weights = np.array([0.5, 3, 1, 0, 7, 0.25, 2.25])
    of_epoch = sampling.weighted(weights, seed=0)
    draws = np.concatenate([of_epoch(epoch) for epoch in range(3_000)])
    counts = np.bincount(draws, minlength=7)
    assert counts[3] == 0 and counts.sum() == 21_000
    some = weights > 0
    expected = 21_000 * weights[some] / weights.sum()
    assert scipy.stats.chisquare(counts[some], expected).pvalue > 1e-3


def test_a_rare_class_is_heard_as_often_as_a_common_one():
    data = Set([[0]] * 900 + [[1]] * 90 + [[2]] * 10)
    rows = np.arange(1000)
    of_epoch = sampling.order("balanced", data, rows, seed=0, offset=1)
    draws = np.concatenate([of_epoch(epoch) for epoch in range(20)])
    share = np.bincount(data.label_ids[draws]) / len(draws)
    weight = np.array([900 / 901, 90 / 91, 10 / 11])
    np.testing.assert_allclose(share, weight / weight.sum(), atol=0.015)


@pytest.mark.parametrize("name", sampling.SAMPLINGS)
def test_an_order_is_a_function_of_seed_and_epoch(name):
    data, rows = Set(LABELS * 5), np.arange(3, 57)
    one, again, other = (
        sampling.order(name, data, rows, seed=seed) for seed in (1, 1, 2)
    )
    epochs = [one(epoch) for epoch in range(9)]
    for epoch in (8, 0, 5):  # in any order, also of those it has forgotten
        np.testing.assert_array_equal(again(epoch), epochs[epoch])
        np.testing.assert_array_equal(one(epoch), epochs[epoch])
    assert len({tuple(epoch) for epoch in (*epochs, other(0))}) == 10
    for epoch in epochs:
        assert len(epoch) == 54 and epoch.min() >= 0 and epoch.max() < 54
        assert (len(set(epoch.tolist())) == 54) == (name == "uniform")


def test_a_draw_at_the_very_end_is_the_last_clip(monkeypatch):
    class Highest:
        def random(self, count):
            return np.ones(count)

    monkeypatch.setattr(sampling, "rng", lambda *_: Highest())
    of_epoch = sampling.weighted(np.array([0.1, 0.2, 0.3]), seed=0)
    assert of_epoch(0).tolist() == [2, 2, 2]


def test_what_there_is_not_is_refused():
    data, rows = Set(LABELS), np.arange(3)
    with pytest.raises(
        ValueError, match="unknown sampling 'even'; known: uniform, balanced"
    ):
        sampling.order("even", data, rows, seed=0)
    with pytest.raises(ValueError, match="balancing offset is 0, expected at least 1"):
        sampling.order("balanced", data, rows, seed=0, offset=0)
