import functools
import json

import numpy as np
import optax
import pytest
from scipy.special import expit, softmax

from aemjax import cli, models
from aemjax.data.prepared import PreparedSet
from aemjax.train import checkpoint, evaluate, metrics, sharding
from aemjax.train.intervals import bootstrap
from aemjax.train.state import jit_initial_state
from tests.aemjax.train import steps


class Set(PreparedSet):
    """A set of labels alone."""

    def __init__(self, labels, *, normal=None, positive=None, device="", group=""):
        self.labels = np.asarray(labels, np.float32)
        n, k = self.labels.shape
        self.multi_label = bool((self.labels.sum(axis=1) > 1).any())
        self.label_names = tuple("abcdef"[:k])
        self.manifest = {"normal_class": normal, "positive_class": positive}
        self.id = np.array([f"clip{i}" for i in range(n)])
        self.device = np.broadcast_to(np.asarray(device, dtype=str), n)
        self.group = np.broadcast_to(np.asarray(group, dtype=str), n)

    def labels_multi_hot(self, rows):
        return self.labels[rows]


@pytest.fixture
def labels():
    return np.eye(3)[np.arange(60) % 3]


@pytest.fixture
def logits():
    rng = np.random.default_rng(0)
    return (np.eye(3)[np.arange(60) % 3] + rng.normal(size=(60, 3))).astype(np.float32)


def test_a_set_is_scored_by_all_that_fits_it(labels, logits):
    device = np.array(["x", "y"])[np.arange(60) // 30]
    data = Set(labels, normal="b", positive="c", device=device)
    rows = np.arange(60)[::-1]
    found = evaluate.score(data, rows, logits[::-1])
    expected = metrics.single_label_metrics(logits, data.labels)
    expected |= metrics.sensitivity_specificity(logits, data.labels, normal=1)
    expected |= metrics.positive_class_metrics(logits, data.labels, positive=2)
    expected |= metrics.device_metrics(logits, data.labels, device)
    assert len(expected) == 6 + 4 + 3 + 2 * 2
    assert found == pytest.approx(expected)


def test_a_plain_set_has_no_more_than_the_basic_metrics(labels, logits):
    found = evaluate.score(Set(labels), np.arange(60), logits)
    names = {"accuracy", "precision", "recall", "F1", "log_loss", "clips"}
    assert set(found) == names


def test_rows_without_a_normal_clip_still_have_json(labels, logits):
    data = Set(labels, normal="a", positive="a")
    rows = np.flatnonzero(labels[:, 0] == 0)
    found = evaluate.score(data, rows, logits[rows])
    assert "Se" in found and not {"Sp", "AS", "HS", "positive_F1"} & set(found)
    json.dumps(found, allow_nan=False)


def test_intervals_are_of_every_metric_but_the_counts(labels, logits):
    data = Set(labels, normal="b", positive="c")
    rows = np.arange(60)
    scored = evaluate.score(data, rows, logits)
    found = evaluate.intervals(data, rows, logits, resamples=40)
    assert set(found) == set(scored) - {"clips"}
    for name, (low, high) in found.items():
        assert low < scored[name] < high
    assert found != evaluate.intervals(data, rows, logits, resamples=40, seed=1)


def test_intervals_draw_groups_and_a_clip_without_one_alone(labels, logits):
    group = np.where(np.arange(60) < 30, np.arange(60) // 5, "")
    rows = np.arange(50)[::-1]
    own = np.array([f"clip{i}" for i in range(60)])
    right = logits.argmax(axis=1) == labels.argmax(axis=1)
    found = evaluate.intervals(
        Set(labels, group=group), rows, logits[rows], resamples=40, seed=5
    )
    expected = bootstrap(
        lambda drawn: {"accuracy": float(right[rows][drawn].mean())},
        np.where(group == "", own, group)[rows],
        resamples=40,
        seed=5,
    )
    assert found["accuracy"] == pytest.approx(expected["accuracy"])


def test_intervals_of_several_labels(logits):
    labels = np.random.default_rng(1).random((60, 3)) < 0.5
    labels[:, 0] |= ~labels.any(axis=1)
    data, rows = Set(labels), np.arange(60)
    found = evaluate.intervals(data, rows, logits, resamples=40)
    assert set(found) == {"mAP", "AUC", "d_prime"}
    assert all(low < high for low, high in found.values())


def test_a_checkpoint_is_scored_with_intervals(pretrained, audioset, capsys):
    plain = evaluate.evaluate_checkpoint(str(pretrained), audioset, split="eval")
    assert (plain["dataset"], plain["split"], plain["clips"]) == (
        "audioset",
        "eval",
        18,
    )
    assert not {"intervals", "resamples"} & set(plain)
    arguments = [str(pretrained), f"--data={audioset}", "--split=eval"]
    cli.main(["evaluate", *arguments, "--resamples=40"])
    found = json.loads(capsys.readouterr().out)
    assert found.pop("resamples") == 40
    data = PreparedSet(audioset)
    groups = set(data.group[data.split == "eval"])
    assert found.pop("resampled_groups") == len(groups) > 1
    assert set(found.pop("intervals")) == {"mAP", "AUC", "d_prime"}
    assert found == pytest.approx(plain)


def test_too_few_resamples_are_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="resamples is 10; a 95 % interval needs at"):
        evaluate.evaluate_checkpoint("nowhere", "nowhere", resamples=10)


def test_the_whole_of_the_set_that_was_trained_on_is_refused(pretrained, audioset):
    with pytest.raises(ValueError, match="was trained on .* name the part .* --split"):
        evaluate.evaluate_checkpoint(str(pretrained), audioset)


def test_a_checkpoint_of_other_labels_is_refused(pretrained, esc50):
    with pytest.raises(ValueError, match=r"knows other labels than .*; \d+ differ"):
        evaluate.evaluate_checkpoint(str(pretrained), esc50, split="full")


def test_averaged_weights_are_scored_beside_the_others(audioset):
    data = PreparedSet(audioset)
    rows = np.flatnonzero(data.split == "eval")
    model = models.create("tests.tiny:Backbone", num_classes=12, width=0.125)
    tx = optax.identity()
    mesh = sharding.data_mesh()
    one, other = (jit_initial_state(mesh, model=model, tx=tx)(seed) for seed in (0, 1))
    evaluator = evaluate.Evaluator(model, mesh, batch_size=16, threads=1)
    states = one, one.replace(params=other.params)
    alone = [evaluator.metrics(state, data, rows) for state in states]
    found = evaluator.metrics(one.replace(ema=other.params), data, rows)
    assert alone[0]["mAP"] != alone[1]["mAP"]
    for key in ("mAP", "AUC", "d_prime"):
        assert found[key] == pytest.approx(alone[0][key])
        assert found.pop(f"ema_{key}") == pytest.approx(alone[1][key])
    assert found == pytest.approx(alone[0])  # and nothing more: counts are the same


# Windows.


@pytest.mark.parametrize("multi_label", [False, True])
def test_probabilities_of_windows_are_averaged(multi_label):
    rng = np.random.default_rng(0)
    rows = np.array([7, 3, 7, 7, 3, 5])
    logits = rng.normal(scale=3, size=(6, 4)).astype(np.float32)
    to_p = expit if multi_label else functools.partial(softmax, axis=1)
    found_rows, found = evaluate.average_windows(rows, logits, multi_label=multi_label)
    assert found_rows.tolist() == [3, 5, 7]
    for row, one in zip(found_rows, to_p(found), strict=True):
        np.testing.assert_allclose(one, to_p(logits)[rows == row].mean(0), rtol=1e-5)
    np.testing.assert_allclose(to_p(found)[1], to_p(logits)[5], rtol=1e-5)


def test_averages_keep_the_digits_of_what_is_almost_certain():
    logits = np.array([[80.0, -80.0], [90.0, -90.0]], np.float32)
    for multi_label in (False, True):
        _, found = evaluate.average_windows(
            np.zeros(2, int), logits, multi_label=multi_label
        )
        assert np.isfinite(found).all()
        assert found[0, 0] - found[0, 1] > 150


def test_an_evaluator_with_windows_scores_every_clip_once(pretrained, audioset):
    weights, card, _ = checkpoint.load(str(pretrained))
    data, rows = PreparedSet(audioset), np.arange(6)
    model, mesh = models.create(**card.model), sharding.data_mesh()
    options = {"batch_size": 8, "threads": 1}
    whole = evaluate.Evaluator(model, mesh, **options)
    cut = evaluate.Evaluator(model, mesh, **options, window_s=0.4, hop_s=0.25)
    (_, one), (found_rows, other) = (
        evaluator.logits(weights, data, rows) for evaluator in (whole, cut)
    )
    assert found_rows.tolist() == list(rows)
    assert one.shape == other.shape and not np.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize(
    ("window_s", "hop_s"), [(0.5, 0.0), (0.5, 0.6), (0.0, 0.5), (0.005, 0.005)]
)
def test_windows_that_leave_gaps_or_hold_no_frame_are_refused(window_s, hop_s):
    with pytest.raises(ValueError, match=f"windows of {window_s} s every {hop_s} s: e"):
        evaluate.Evaluator(
            steps.tiny(),
            sharding.data_mesh(),
            batch_size=8,
            window_s=window_s,
            hop_s=hop_s,
        )
