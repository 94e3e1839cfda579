"""Metrics of whole evaluations, on the host, by scikit-learn.

Each function takes scores "n k" and labels "n k" (multi-hot or one-hot) and returns a
flat dict; what was averaged over is reported beside it.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import norm
from sklearn import metrics as sk

# What a run can be selected by.
NAMES = {
    True: ("mAP", "AUC", "d_prime"),
    False: ("accuracy", "precision", "recall", "F1"),
}

Scores = Float[np.ndarray, "n k"]


def multi_label_metrics(scores: Scores, labels: Scores) -> dict[str, int | float]:
    """mAP, macro AUC and d' = sqrt(2) * Phi^-1(AUC) (Gemmeke et al., ICASSP 2017).

    Classes without a positive (for AUC: or without a negative) are left out of the
    means; "classes" and "clips" say what the mAP is over.

    Raises:
      ValueError: if no class has a positive clip, or a score is not finite.
    """
    _check(scores, labels)
    positives = labels.sum(axis=0)
    present = positives > 0
    if not present.any():
        raise ValueError(f"none of {labels.shape[1]} classes has a positive clip")
    precision = sk.average_precision_score(
        labels[:, present], scores[:, present], average=None
    )
    both = present & (positives < len(labels))
    auc = np.nan
    if both.any():
        auc = sk.roc_auc_score(labels[:, both], scores[:, both], average="macro")
    # An AUC of 1 would make d' infinite; a clip's worth of doubt keeps it a number.
    bound = 1 / (2 * len(labels))
    return {
        "mAP": float(np.mean(precision)),
        "AUC": float(auc),
        "d_prime": float(np.sqrt(2) * norm.ppf(np.clip(auc, bound, 1 - bound))),
        "classes": int(present.sum()),
        "clips": len(labels),
    }


def single_label_metrics(scores: Scores, labels: Scores) -> dict[str, int | float]:
    """Accuracy, and precision, recall and F1 as macro means over the classes present.

    Raises:
      ValueError: if a clip has not exactly one class, or a score is not finite.
    """
    truth, guess = _classes(scores, labels)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, guess, labels=np.unique(truth), average="macro", zero_division=0
    )
    return {
        "accuracy": float(np.mean(truth == guess)),
        "precision": float(precision),
        "recall": float(recall),
        "F1": float(f1),
        "clips": len(labels),
    }


def check_name(name: str, *, multi_label: bool) -> None:
    """Refuses to select by a metric that the labels do not have.

    Raises:
      ValueError: naming those they have.
    """
    if name not in NAMES[multi_label]:
        kind = "multi-label" if multi_label else "single-label"
        raise ValueError(
            f"checkpoint.metric is {name!r}; a {kind} set has {NAMES[multi_label]}"
        )


def confusion_matrix(scores: Scores, labels: Scores) -> list[list[int]]:
    """Clips by true class (row) and highest score (column)."""
    truth, guess = _classes(scores, labels)
    names = range(labels.shape[1])
    return sk.confusion_matrix(truth, guess, labels=names).tolist()


def _classes(scores: Scores, labels: Scores) -> tuple[np.ndarray, np.ndarray]:
    _check(scores, labels)
    if not (labels.sum(axis=1) == 1).all():
        raise ValueError("a clip has several classes, or none; use a multi-label set")
    return labels.argmax(axis=1), scores.argmax(axis=1)


def _check(scores: Scores, labels: Scores) -> None:
    if scores.shape != labels.shape or not len(scores):
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} do not fit")
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{np.sum(~np.isfinite(scores))} of {scores.size} scores are not finite; "
            "the model has diverged"
        )
