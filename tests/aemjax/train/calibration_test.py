import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as sk

from aemjax.train import calibration


@pytest.fixture(scope="module")
def single():
    """(logits, one-hot labels) drawn from the softmax of half of the logits."""
    rng = np.random.default_rng(0)
    honest = rng.normal(scale=2, size=(4000, 5))
    labels = np.array([rng.multinomial(1, p) for p in softmax(honest, axis=1)])
    return (2 * honest).astype(np.float32), labels.astype(np.float32)


def test_the_temperature_undoes_too_much_confidence(single):
    found = calibration.fit_temperature(*single, multi_label=False)
    assert found == pytest.approx(2, rel=0.05)


def test_the_temperature_of_several_labels():
    rng = np.random.default_rng(1)
    honest = rng.normal(size=(4000, 3))
    labels = (rng.random((4000, 3)) < expit(honest)).astype(np.float32)
    logits = (honest / 3).astype(np.float32)
    found = calibration.fit_temperature(logits, labels, multi_label=True)
    assert found == pytest.approx(1 / 3, rel=0.1)
    expected = sk.log_loss(labels.ravel(), expit(logits.astype(np.float64)).ravel())
    loss = calibration.log_loss(logits, labels, multi_label=True)
    assert loss == pytest.approx(expected, rel=1e-6)


def test_calibrating_lowers_loss_and_error_of_other_clips(single):
    logits, labels = single
    half = len(logits) // 2
    found = calibration.calibrate(
        logits[:half], labels[:half], logits[half:], labels[half:], multi_label=False
    )
    assert found["log_loss"] < found["log_loss_as_is"]
    assert found["ECE"] < found["ECE_as_is"] / 2
    truth = labels[half:].argmax(axis=1)
    p = softmax(logits[half:].astype(np.float64), axis=1)
    assert found["log_loss_as_is"] == pytest.approx(sk.log_loss(truth, p), rel=1e-5)
    assert "threshold" not in found


def test_the_expected_calibration_error_by_hand():
    p = np.array([[0.95, 0.05], [0.93, 0.07], [0.45, 0.55], [0.4, 0.6]])
    labels = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    # Bins of a tenth: .95 is right, .93 wrong; .55 right; .6 right.
    expected = (abs(0.95 - 1 + 0.93 - 0) + abs(0.55 - 1) + abs(0.6 - 1)) / 4
    found = calibration.expected_calibration_error(
        np.log(p + 1e-9), labels, multi_label=False, bins=10
    )
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_threshold_has_the_best_f1_of_all():
    rng = np.random.default_rng(2)
    positive = rng.random(300) < 0.3
    scores = np.round(expit(rng.normal(size=300) + positive), 2)  # with ties
    threshold = calibration.fit_threshold(scores, positive)
    found = sk.f1_score(positive, scores >= threshold)
    every = [sk.f1_score(positive, scores >= x) for x in np.unique(scores)]
    assert found == pytest.approx(max(every))
    assert calibration.fit_threshold(scores, np.zeros(300, bool)) == 0.5


def test_a_threshold_for_the_positive_class(single):
    logits, labels = single
    found = calibration.calibrate(
        logits, labels, logits, labels, multi_label=False, positive=3
    )
    cooled = logits.astype(np.float64) / found["temperature"]
    called = softmax(cooled, axis=1)[:, 3] >= found["threshold"]
    expected = sk.f1_score(labels[:, 3], called)
    assert found["positive_F1"] == pytest.approx(expected)


def test_nothing_to_fit_on():
    empty = np.zeros((0, 3), np.float32)
    with pytest.raises(ValueError, match=r"logits \(0, 3\) and labels \(0, 3\)"):
        calibration.fit_temperature(empty, empty, multi_label=False)
