"""Losses: (logits "b k", labels "b k") -> one value per example, in float32.

Labels are soft: multi-hot or one-hot, mixed by mixup.
"""

import optax
from jaxtyping import Array, Float

from aemjax.models.layers import at_least_float32

Scores = Float[Array, "b k"]


def binary_cross_entropy(logits: Scores, labels: Scores) -> Float[Array, "b"]:
    """Sigmoid cross-entropy, averaged over classes (multi-label)."""
    logits = at_least_float32(logits)
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean(axis=-1)


def cross_entropy(logits: Scores, labels: Scores) -> Float[Array, "b"]:
    """Softmax cross-entropy (single-label)."""
    return optax.softmax_cross_entropy(at_least_float32(logits), labels)


LOSSES = {"bce": binary_cross_entropy, "ce": cross_entropy}


def get(name: str, *, multi_label: bool):
    """The loss of this name.

    Args:
      multi_label: whether a clip of the data set may have several labels.

    Raises:
      ValueError: on an unknown name, or one that does not fit the labels.
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; known: {sorted(LOSSES)}")
    if multi_label and name == "ce":
        raise ValueError(
            "loss 'ce' takes one label per clip, the data set has several; use 'bce'"
        )
    return LOSSES[name]
