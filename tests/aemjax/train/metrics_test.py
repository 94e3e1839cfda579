import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from aemjax.data import catalog
from aemjax.data.prepared import PreparedSet
from aemjax.train import metrics

NORMAL, CRACKLES, WHEEZES, BOTH = range(4)


class Set(PreparedSet):
    """What the names of metrics depend on."""

    def __init__(self, *, multi_label=False, normal=None, positive=None):
        self.path, self.multi_label = "sets/mine", multi_label
        self.manifest = {"normal_class": normal, "positive_class": positive}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def logits_and_labels(guess, truth, classes):
    return 5 * np.eye(classes)[guess], np.eye(classes)[truth]


def test_average_precision_of_a_hand_computed_case():
    logits = np.array([[0.9], [0.8], [0.7], [0.6]])
    labels = np.array([[1.0], [0.0], [1.0], [0.0]])
    # Positives at ranks 1 and 3: (1/1 + 2/3) / 2.
    found = metrics.multi_label_metrics(logits, labels)
    assert found["mAP"] == pytest.approx(5 / 6)
    assert found["AUC"] == pytest.approx(3 / 4)  # 3 of 4 pairs in order
    assert found["d_prime"] == pytest.approx(np.sqrt(2) * 0.6744897501960817)


def test_classes_without_positives_are_left_out_and_counted(rng):
    logits = rng.normal(size=(50, 6))
    labels = (rng.random((50, 6)) < 0.3).astype(np.float32)
    labels[:, 2] = 0
    labels[:, 4] = 1
    found = metrics.multi_label_metrics(logits, labels)
    present, both = [0, 1, 3, 4, 5], [0, 1, 3, 5]
    each = [average_precision_score(labels[:, k], logits[:, k]) for k in present]
    aucs = [roc_auc_score(labels[:, k], logits[:, k]) for k in both]
    assert found["mAP"] == pytest.approx(np.mean(each))
    assert found["AUC"] == pytest.approx(np.mean(aucs))
    assert (found["classes"], found["clips"]) == (5, 50)


def test_without_negatives_there_is_no_auc():
    found = metrics.multi_label_metrics(np.eye(2), np.ones((2, 2)))
    assert found == {"mAP": 1.0, "classes": 2, "clips": 2}


def test_a_perfect_ranking_has_a_finite_d_prime():
    labels = np.eye(4)[np.arange(20) % 4]
    found = metrics.multi_label_metrics(labels, labels)
    assert found["mAP"] == found["AUC"] == 1
    assert 0 < found["d_prime"] < np.inf


def test_single_label_metrics_of_a_hand_computed_case():
    truth, guess = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2]
    pair = logits_and_labels(guess, truth, 4)
    found = metrics.single_label_metrics(*pair)
    precision = (2 / 3 + 1 / 2 + 1) / 3  # class 3 has no clip
    recall = (2 / 3 + 1 / 2 + 1) / 3
    f1 = (2 / 3 + 1 / 2 + 1) / 3
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["precision"] == pytest.approx(precision)
    assert found["recall"] == pytest.approx(recall)
    assert found["F1"] == pytest.approx(f1)
    confusion = metrics.confusion_matrix(*pair)
    assert confusion == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_log_loss_is_natural_and_of_the_softmax():
    # The true class has probability 1/2, 1/4 and 1/8: ln 2 * (1 + 2 + 3) / 3.
    p = np.array([[1 / 2, 1 / 2, 0.0], [1 / 4, 1 / 4, 1 / 2], [5 / 8, 1 / 4, 1 / 8]])
    logits = np.log(p, out=np.full((3, 3), -1e3), where=p > 0) + [[7.0], [-3.0], [0.0]]
    found = metrics.single_label_metrics(logits.astype(np.float32), np.eye(3))
    assert found["log_loss"] == pytest.approx(2 * np.log(2), rel=1e-6)


def test_log_loss_of_a_hopeless_clip_is_finite():
    found = metrics.single_label_metrics(np.array([[0.0, 1e4]]), np.array([[1.0, 0]]))
    assert found["log_loss"] == pytest.approx(1e4)


def test_sensitivity_counts_only_the_right_abnormal_class():
    truth = [NORMAL] * 4 + [CRACKLES] * 3 + [WHEEZES] * 2 + [BOTH]
    guess = [NORMAL] * 3 + [CRACKLES, CRACKLES, WHEEZES, NORMAL, WHEEZES, BOTH, BOTH]
    pair = logits_and_labels(guess, truth, 4)
    found = metrics.sensitivity_specificity(*pair, normal=NORMAL)
    # Called abnormal are 5 of the 6 abnormal clips, rightly named 3.
    assert found == pytest.approx({"Se": 3 / 6, "Sp": 3 / 4, "AS": 5 / 8, "HS": 3 / 5})


def test_sensitivity_and_specificity_of_zero_have_a_score():
    pair = logits_and_labels([1, 0], [0, 1], 2)
    found = metrics.sensitivity_specificity(*pair, normal=0)
    assert found == {"Se": 0, "Sp": 0, "AS": 0, "HS": 0}


@pytest.mark.parametrize(("truth", "left"), [([0, 0], "Sp"), ([1, 2], "Se")])
def test_what_has_no_clips_has_no_value(truth, left):
    pair = logits_and_labels([0, 2], truth, 3)
    assert metrics.sensitivity_specificity(*pair, normal=0) == {left: 0.5}


def test_the_positive_class_against_scikit_learn(rng):
    truth, guess = rng.integers(0, 3, (2, 60))
    pair = logits_and_labels(guess, truth, 3)
    found = metrics.positive_class_metrics(*pair, positive=2)
    assert found == pytest.approx(
        {
            "positive_precision": precision_score(truth == 2, guess == 2),
            "positive_recall": recall_score(truth == 2, guess == 2),
            "positive_F1": f1_score(truth == 2, guess == 2),
        }
    )


def test_a_positive_class_never_predicted_and_one_without_clips():
    pair = logits_and_labels([0, 0, 0], [0, 1, 0], 3)
    found = metrics.positive_class_metrics(*pair, positive=1)
    assert set(found.values()) == {0.0}
    assert metrics.positive_class_metrics(*pair, positive=2) == {}


def test_f1_over_folds_is_not_that_of_the_mean_precision_and_recall():
    # Fold 1: one clip found of two, no false alarm. Fold 2: both, two false alarms.
    folds = [([1, 0, 0, 0], [1, 1, 0, 0]), ([1, 1, 1, 1], [1, 1, 0, 0])]
    found = [
        metrics.positive_class_metrics(*logits_and_labels(*fold, 2), positive=1)
        for fold in folds
    ]
    precision, recall, f1 = (
        np.mean([fold[name] for fold in found]) for name in metrics.OF_POSITIVE_CLASS
    )
    assert (precision, recall) == (0.75, 0.75)
    assert f1 == pytest.approx(2 / 3)
    assert metrics.harmonic_mean(precision, recall) == pytest.approx(0.75)


def test_the_published_f1_of_the_cough_tasks():
    """(P, R, F1) of Galindo-Meza 2021, Table 12: two of three are F1 of P and R.

    The first is not, nor is it a mean over folds: an F1 is never above the arithmetic
    mean of its P and R, so no mean of them is above .7105.
    """
    assert metrics.harmonic_mean(0.8697, 0.8850) == pytest.approx(0.8773, abs=5e-5)
    assert metrics.harmonic_mean(0.9040, 0.8300) == pytest.approx(0.8654, abs=5e-5)
    assert metrics.harmonic_mean(0.6975, 0.7235) == pytest.approx(0.7103, abs=5e-5)
    assert (0.6975 + 0.7235) / 2 < 0.7332


def test_devices_are_scored_apart():
    p = np.array([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5], [0.9, 0.1]])
    labels = np.eye(2)[[0, 0, 0, 1]]
    found = metrics.device_metrics(np.log(p), labels, np.array(["a", "a", "", "s1"]))
    assert found == pytest.approx(
        {
            "accuracy/a": 0.5,
            "log_loss/a": -np.log(0.8 * 0.4) / 2,
            "accuracy/s1": 0,
            "log_loss/s1": -np.log(0.1),
        }
    )
    one = np.array(["a", "a", "", "a"])
    assert metrics.device_metrics(np.log(p), labels, one) == {}


def test_bad_logits_are_refused():
    labels = np.eye(3)
    with pytest.raises(ValueError, match="1 of 9 logits are not finite; the model has"):
        logits = np.eye(3)
        logits[0, 0] = np.nan
        metrics.single_label_metrics(logits, labels)
    with pytest.raises(ValueError, match="none of 3 classes has a positive clip"):
        metrics.multi_label_metrics(np.eye(3), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="a clip has several classes, or none"):
        metrics.sensitivity_specificity(np.eye(3), np.ones((3, 3)), normal=0)


def test_names_are_those_that_the_set_has():
    basic = ("accuracy", "precision", "recall", "F1")
    lungs = ("Se", "Sp", "AS", "HS")
    positive = ("positive_precision", "positive_recall", "positive_F1")
    assert metrics.names(Set(multi_label=True)) == ("mAP", "AUC", "d_prime")
    assert metrics.names(Set()) == basic
    assert metrics.names(Set(normal="normal")) == basic + lungs
    assert metrics.names(Set(positive="covid")) == basic + positive
    metrics.check_name("AS", Set(normal="normal"), averaged=False)


@pytest.mark.parametrize("name", ["log_loss", "Se", "mAP", "acc"])
def test_a_run_is_not_selected_by_what_its_set_lacks(name):
    with pytest.raises(
        ValueError,
        match=rf"checkpoint.metric is '{name}'; a single-label set as sets/mine can be "
        r"selected by \['accuracy', 'precision', 'recall', 'F1'\]",
    ):
        metrics.check_name(name, Set(), averaged=False)


def test_averaged_weights_have_metrics_of_their_own():
    metrics.check_name("ema_mAP", Set(multi_label=True), averaged=True)
    metrics.check_name("mAP", Set(multi_label=True), averaged=True)
    with pytest.raises(
        ValueError, match=r"is 'ema_mAP'; .*\['mAP', 'AUC', 'd_prime'\]"
    ):
        metrics.check_name("ema_mAP", Set(multi_label=True), averaged=False)
    with pytest.raises(ValueError, match=r"is 'ema_F1'; .* 'd_prime', 'ema_mAP', 'ema"):
        metrics.check_name("ema_F1", Set(multi_label=True), averaged=True)


@pytest.mark.parametrize("name", catalog.DATASETS)
def test_what_is_published_for_a_dataset_is_measured(name):
    entry = catalog.get(name)
    kinds = [entry.multi_label] if entry.multi_label is not None else [True, False]
    measured = {"log_loss"}
    for multi_label in kinds:
        measured |= set(
            metrics.names(
                Set(
                    multi_label=multi_label,
                    normal=entry.normal_class,
                    positive=entry.positive_class,
                )
            )
        )
    published = {metric.partition("/")[0] for metric in entry.metrics}  # of devices
    assert published <= measured
