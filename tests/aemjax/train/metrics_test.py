import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from aemjax.train import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_average_precision_of_a_hand_computed_case():
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    labels = np.array([[1.0], [0.0], [1.0], [0.0]])
    # Positives at ranks 1 and 3: (1/1 + 2/3) / 2.
    found = metrics.multi_label_metrics(scores, labels)
    assert found["mAP"] == pytest.approx(5 / 6)
    assert found["AUC"] == pytest.approx(3 / 4)  # 3 of 4 pairs in order
    assert found["d_prime"] == pytest.approx(np.sqrt(2) * 0.6744897501960817)


def test_classes_without_positives_are_left_out_and_counted(rng):
    scores = rng.normal(size=(50, 6))
    labels = (rng.random((50, 6)) < 0.3).astype(np.float32)
    labels[:, 2] = 0
    labels[:, 4] = 1
    found = metrics.multi_label_metrics(scores, labels)
    present, both = [0, 1, 3, 4, 5], [0, 1, 3, 5]
    each = [average_precision_score(labels[:, k], scores[:, k]) for k in present]
    aucs = [roc_auc_score(labels[:, k], scores[:, k]) for k in both]
    assert found["mAP"] == pytest.approx(np.mean(each))
    assert found["AUC"] == pytest.approx(np.mean(aucs))
    assert (found["classes"], found["clips"]) == (5, 50)


def test_a_perfect_ranking_has_a_finite_d_prime():
    labels = np.eye(4)[np.arange(20) % 4]
    found = metrics.multi_label_metrics(labels, labels)
    assert found["mAP"] == found["AUC"] == 1
    assert 0 < found["d_prime"] < np.inf


def test_single_label_metrics_of_a_hand_computed_case():
    truth, guess = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2]
    found = metrics.single_label_metrics(np.eye(4)[guess], np.eye(4)[truth])
    precision = (2 / 3 + 1 / 2 + 1) / 3  # class 3 has no clip
    recall = (2 / 3 + 1 / 2 + 1) / 3
    f1 = (2 / 3 + 1 / 2 + 1) / 3
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["precision"] == pytest.approx(precision)
    assert found["recall"] == pytest.approx(recall)
    assert found["F1"] == pytest.approx(f1)
    confusion = metrics.confusion_matrix(np.eye(4)[guess], np.eye(4)[truth])
    assert confusion == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_bad_scores_are_refused(rng):
    labels = np.eye(3)
    with pytest.raises(ValueError, match="1 of 9 scores are not finite"):
        scores = np.eye(3)
        scores[0, 0] = np.nan
        metrics.single_label_metrics(scores, labels)
    with pytest.raises(ValueError, match="none of 3 classes has a positive"):
        metrics.multi_label_metrics(np.eye(3), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="several classes, or none"):
        metrics.single_label_metrics(np.eye(3), np.ones((3, 3)))
