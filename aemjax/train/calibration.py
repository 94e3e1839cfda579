"""What a model's scores are worth: a temperature and thresholds, fitted on validation."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.metrics import f1_score

Matrix = Float[np.ndarray, "n k"]

TEMPERATURES = (0.05, 20.0)


def fit_temperature(logits: Matrix, labels: Matrix, *, multi_label: bool) -> float:
    """The T for which logits / T give the labels the highest likelihood.

    Guo et al., ICML 2017, section 4.2.

    Args:
      logits: of clips that were not trained on.
      labels: one-hot, or multi-hot.
      multi_label: whether a probability is a logit's sigmoid, else all logits' softmax.

    Raises:
      ValueError: without a clip.
    """
    _check(logits, labels)
    lowest, highest = np.log(TEMPERATURES)

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        return log_loss(scaled, labels, multi_label=multi_label)

    found = minimize_scalar(loss, bounds=(lowest, highest), method="bounded")
    return float(np.exp(found.x))


def log_loss(logits: Matrix, labels: Matrix, *, multi_label: bool) -> float:
    """Mean negative log-likelihood of the labels; of several, also over classes."""
    if multi_label:
        terms = labels * log_expit(logits) + (1 - labels) * log_expit(-logits)
        return float(-terms.mean())
    return float(-(labels * log_softmax(logits, axis=1)).sum(axis=1).mean())


def fit_threshold(scores: Float[np.ndarray, "n"], positive: np.ndarray) -> float:
    """The score from which on to call a clip positive, for the highest F1.

    Halfway between two scores that occur; 0.5 where no clip is positive.

    Args:
      scores: probabilities.
      positive: bool "n".
    """
    if not positive.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    called = np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (called + positive.sum())
    f1[:-1][ranked[:-1] == ranked[1:]] = -1  # equal scores are called together
    last = int(f1.argmax())
    below = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float((ranked[last] + below) / 2)


def expected_calibration_error(
    logits: Matrix, labels: Matrix, *, multi_label: bool, bins: int = 15
) -> float:
    """Mean distance of confidence and accuracy, over bins of confidence.

    Naeini et al., AAAI 2015; of single labels for the class called, of several for all
    classes.
    """
    if multi_label:
        confidence, right = expit(logits).ravel(), labels.ravel()
    else:
        log_p = log_softmax(logits, axis=1)
        guess = log_p.argmax(axis=1)
        confidence = np.exp(log_p.max(axis=1))
        right = labels[np.arange(len(labels)), guess]
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def calibrate(
    known: Float[np.ndarray, "m k"],
    known_labels: Float[np.ndarray, "m k"],
    logits: Matrix,
    labels: Matrix,
    *,
    multi_label: bool,
    positive: int | None = None,
) -> dict[str, float]:
    """What a temperature and a threshold from validation clips do to others.

    Args:
      known, known_labels: of the clips for validation.
      positive: the class that a threshold is for; None: none is.

    Returns:
      "temperature", and "log_loss" and "ECE" before (with "_as_is" behind) and after; with
      `positive`, "threshold", of a probability after the temperature, and the
      "positive_F1" that it gives.
    """
    kind = {"multi_label": multi_label}
    temperature = fit_temperature(known, known_labels, **kind)
    cooled = logits / temperature
    result = {
        "temperature": temperature,
        "log_loss_as_is": log_loss(logits, labels, **kind),
        "log_loss": log_loss(cooled, labels, **kind),
        "ECE_as_is": expected_calibration_error(logits, labels, **kind),
        "ECE": expected_calibration_error(cooled, labels, **kind),
    }
    if positive is not None:
        # In float32 the middle of two neighbours would be one of them.
        scores, called = (
            softmax(x.astype(np.float64) / temperature, axis=1)[:, positive]
            for x in (known, logits)
        )
        threshold = fit_threshold(scores, known_labels[:, positive] > 0)
        result |= {
            "threshold": threshold,
            "positive_F1": float(
                f1_score(labels[:, positive] > 0, called >= threshold, zero_division=0)
            ),
        }
    return result


def _check(logits: Matrix, labels: Matrix) -> None:
    if not len(logits) or logits.shape != labels.shape:
        raise ValueError(
            f"logits {logits.shape} and labels {labels.shape}: expected as many, and at "
            "least one clip"
        )
