"""Metrics of whole evaluations, on the host.

Each function takes logits "n k" (what the model returns, before softmax or sigmoid) and
labels "n k" (multi-hot or one-hot) and returns a flat dict; what was averaged over is
reported beside it. A metric that the clips leave undefined, such as specificity without
a normal clip, is not in the dict: no value stands for it.
"""

import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import log_softmax
from scipy.stats import norm
from sklearn import metrics as sk

from aemjax.data.prepared import PreparedSet

# What a run can be selected by: higher is better. log_loss is measured beside them.
MULTI_LABEL = ("mAP", "AUC", "d_prime")
SINGLE_LABEL = ("accuracy", "precision", "recall", "F1")
OF_NORMAL_CLASS = ("Se", "Sp", "AS", "HS")
OF_POSITIVE_CLASS = ("positive_precision", "positive_recall", "positive_F1")
# Reported beside the metrics; no metrics themselves.
COUNTS = ("classes", "clips")

Matrix = Float[np.ndarray, "n k"]
Metrics = dict[str, int | float]


def names(data: PreparedSet) -> tuple[str, ...]:
    """The metrics that a run on this set can be selected by; higher is better."""
    if data.multi_label:
        return MULTI_LABEL
    found = SINGLE_LABEL
    if data.manifest["normal_class"] is not None:
        found += OF_NORMAL_CLASS
    if data.manifest["positive_class"] is not None:
        found += OF_POSITIVE_CLASS
    return found


def check_name(name: str, data: PreparedSet, *, averaged: bool) -> None:
    """Refuses to select by a metric that the run does not have.

    Args:
      averaged: whether there are averaged weights, whose metrics begin with `ema_`.

    Raises:
      ValueError: naming those it has.
    """
    known = names(data)
    if averaged:
        known = (*known, *(f"ema_{metric}" for metric in known))
    if name not in known:
        kind = "multi-label" if data.multi_label else "single-label"
        raise ValueError(
            f"checkpoint.metric is {name!r}; a {kind} set as {data.path} can be "
            f"selected by {list(known)}"
        )


def multi_label_metrics(logits: Matrix, labels: Matrix) -> Metrics:
    """mAP, macro AUC and d' = sqrt(2) * Phi^-1(AUC) (Gemmeke et al., ICASSP 2017).

    Classes without a positive (for AUC: or without a negative) are left out of the
    means; "classes" and "clips" say what the mAP is over. Where no class has both,
    there is neither AUC nor d'.

    Raises:
      ValueError: if no class has a positive clip, or a logit is not finite.
    """
    _check(logits, labels)
    positives = labels.sum(axis=0)
    present = positives > 0
    if not present.any():
        raise ValueError(f"none of {labels.shape[1]} classes has a positive clip")
    precision = sk.average_precision_score(
        *_columns(present, labels, logits), average=None
    )
    result = {
        "mAP": float(np.mean(precision)),
        "classes": int(present.sum()),
        "clips": len(labels),
    }
    both = present & (positives < len(labels))
    if both.any():
        auc = sk.roc_auc_score(*_columns(both, labels, logits), average="macro")
        # An AUC of 1 would make d' infinite; a clip's worth of doubt keeps it a number.
        bound = 1 / (2 * len(labels))
        d_prime = np.sqrt(2) * norm.ppf(np.clip(auc, bound, 1 - bound))
        result |= {"AUC": float(auc), "d_prime": float(d_prime)}
    return result


def single_label_metrics(logits: Matrix, labels: Matrix) -> Metrics:
    """Accuracy, log loss, and precision, recall and F1 as means over the classes present.

    A class that is never predicted has precision 0. log_loss is the mean of -ln p of
    the true class, p = softmax of the logits.

    Raises:
      ValueError: if a clip has not exactly one class, or a logit is not finite.
    """
    truth, guess = _classes(logits, labels)
    present = np.unique(truth)
    precision, recall, f1 = _precision_recall_f1(truth, guess, labels.shape[1])
    return {
        "accuracy": float(np.mean(truth == guess)),
        "precision": float(precision[present].mean()),
        "recall": float(recall[present].mean()),
        "F1": float(f1[present].mean()),
        "log_loss": _log_loss(logits, truth),
        "clips": len(labels),
    }


def sensitivity_specificity(logits: Matrix, labels: Matrix, *, normal: int) -> Metrics:
    """Se, Sp, AS and HS of lung sounds (ICBHI 2017 challenge; Galindo-Meza 2021, ch. 6).

    Se = abnormal clips given their own class / abnormal clips: crackles taken for
    wheezes are no hit. Sp = normal clips given normal / normal clips. AS is the
    arithmetic mean of both, HS the harmonic one. Without abnormal clips there is Sp
    alone, without normal ones Se alone.

    Args:
      normal: number of the normal class; every other one is abnormal.

    Raises:
      ValueError: if a clip has not exactly one class, or a logit is not finite.
    """
    truth, guess = _classes(logits, labels)
    hit, is_normal = truth == guess, truth == normal
    result = {
        name: float(np.mean(hit[rows]))
        for name, rows in (("Se", ~is_normal), ("Sp", is_normal))
        if rows.any()
    }
    if len(result) == 2:
        result["AS"] = (result["Se"] + result["Sp"]) / 2
        result["HS"] = harmonic_mean(result["Se"], result["Sp"])
    return result


def positive_class_metrics(logits: Matrix, labels: Matrix, *, positive: int) -> Metrics:
    """Precision, recall and F1 of one class; none where it has no clip.

    Args:
      positive: number of the class. Never predicted, it has precision 0.

    Raises:
      ValueError: if a clip has not exactly one class, or a logit is not finite.
    """
    truth, guess = _classes(logits, labels)
    if not (truth == positive).any():
        return {}
    values = _precision_recall_f1(truth, guess, labels.shape[1])
    return {
        name: float(of_class[positive])
        for name, of_class in zip(OF_POSITIVE_CLASS, values, strict=True)
    }


def device_metrics(
    logits: Matrix, labels: Matrix, devices: Shaped[np.ndarray, "n"]
) -> Metrics:
    """Accuracy and log loss by recording device, as "accuracy/a" and "log_loss/a".

    Args:
      devices: of each clip; "" where unknown. With fewer than two known ones the dict
        is empty.

    Raises:
      ValueError: if a clip has not exactly one class, or a logit is not finite.
    """
    truth, guess = _classes(logits, labels)
    known = sorted(set(devices.tolist()) - {""})
    result = {}
    for device in known if len(known) > 1 else ():
        rows = devices == device
        result[f"accuracy/{device}"] = float(np.mean(truth[rows] == guess[rows]))
        result[f"log_loss/{device}"] = _log_loss(logits[rows], truth[rows])
    return result


def harmonic_mean(a: int | float, b: int | float) -> float:
    """2ab / (a + b), 0 of two zeros: HS of Se and Sp, F1 of precision and recall."""
    return 2 * a * b / (a + b) if a + b else 0.0


def confusion_matrix(logits: Matrix, labels: Matrix) -> list[list[int]]:
    """Clips by true class (row) and highest logit (column)."""
    truth, guess = _classes(logits, labels)
    return sk.confusion_matrix(truth, guess, labels=range(labels.shape[1])).tolist()


def _columns(chosen: np.ndarray, *arrays: Matrix) -> list[np.ndarray]:
    # Not x[:, chosen]: that lies by column, which scikit-learn copies whole for every
    # class (AudioSet's evaluation set: 84 s, not 5).
    return [np.compress(chosen, x, axis=1) for x in arrays]


def _precision_recall_f1(truth: np.ndarray, guess: np.ndarray, k: int):
    """Of every class "k"; 0 where a class is never predicted, or has no clip."""
    # Counted here: scikit-learn takes 50 times as long, and bootstraps ask by thousands.
    hits = np.bincount(truth[truth == guess], minlength=k)
    guesses, clips = np.bincount(guess, minlength=k), np.bincount(truth, minlength=k)

    def ratio(part, whole):
        return np.divide(part, whole, out=np.zeros(k), where=whole > 0)

    f1 = ratio(2 * hits, guesses + clips)
    return ratio(hits, guesses), ratio(hits, clips), f1


def _log_loss(logits: Matrix, truth: np.ndarray) -> float:
    of_truth = np.take_along_axis(
        log_softmax(logits.astype(np.float64), axis=1), truth[:, None], axis=1
    )
    return float(-of_truth.mean())


def _classes(logits: Matrix, labels: Matrix) -> tuple[np.ndarray, np.ndarray]:
    _check(logits, labels)
    if not (labels.sum(axis=1) == 1).all():
        raise ValueError("a clip has several classes, or none; use a multi-label set")
    return labels.argmax(axis=1), logits.argmax(axis=1)


def _check(logits: Matrix, labels: Matrix) -> None:
    if logits.shape != labels.shape or not len(logits):
        raise ValueError(f"logits {logits.shape} and labels {labels.shape} do not fit")
    if not np.isfinite(logits).all():
        raise ValueError(
            f"{np.sum(~np.isfinite(logits))} of {logits.size} logits are not finite; "
            "the model has diverged"
        )
