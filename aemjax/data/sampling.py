"""Which clips an epoch holds, and in which order: functions of the seed and the epoch."""

import functools
import zlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from aemjax.data.prepared import PreparedSet

Order = Callable[[int], np.ndarray]  # epoch -> positions "n" in 0..n-1

SAMPLINGS = ("uniform", "balanced")


def rng(seed: int, stream: str, number: int) -> np.random.Generator:
    """The generator of one stream ("order", "crop") at one epoch or step."""
    return np.random.default_rng((seed, zlib.crc32(stream.encode()), number))


def order(
    name: str, data: PreparedSet, rows: np.ndarray, *, seed: int, offset: int = 100
) -> Order:
    """The order of this name.

    Args:
      name: "uniform": every row once an epoch; "balanced": as many draws as there are
        rows, with replacement, by `class_balanced_weights`.
      rows: of `data`, those to draw from; positions are places in it.
      offset: of the weights.

    Raises:
      ValueError: on an unknown name, or an offset that is not positive.
    """
    if name == "uniform":
        return shuffled(len(rows), seed=seed)
    if name == "balanced":
        weights = class_balanced_weights(data, rows, offset=offset)
        return weighted(weights, seed=seed)
    raise ValueError(f"unknown sampling {name!r}; known: {', '.join(SAMPLINGS)}")


def shuffled(count: int, *, seed: int) -> Order:
    """Every position once in each epoch."""

    @functools.lru_cache(maxsize=4)  # readers ahead are in the next epoch already
    def of_epoch(epoch: int) -> np.ndarray:
        return rng(seed, "order", epoch).permutation(count)

    return of_epoch


def weighted(weights: Float[np.ndarray, "n"], *, seed: int) -> Order:
    """As many draws as there are weights, each position as likely as its weight says."""
    bounds = np.cumsum(weights, dtype=np.float64)

    @functools.lru_cache(maxsize=4)
    def of_epoch(epoch: int) -> np.ndarray:
        draws = rng(seed, "order", epoch).random(len(bounds)) * bounds[-1]
        # Rounding may carry a draw to the last bound, which is no position's.
        places = np.searchsorted(bounds, draws, side="right")
        return np.minimum(places, len(bounds) - 1)

    return of_epoch


def class_balanced_weights(
    data: PreparedSet, rows: np.ndarray, *, offset: int = 100
) -> Float[np.ndarray, "n"]:
    """The sum over a clip's classes of 1000 / (offset + clips of the class).

    With an offset of 100, the weights that recipes for AudioSet use (EfficientAT,
    PaSST). A clip without a label weighs as little as the lightest that has one.

    Raises:
      ValueError: if the offset is not positive.
    """
    if offset < 1:
        raise ValueError(f"the balancing offset is {offset}, expected at least 1")
    places, labels = data.labels_of(rows)
    of_class = 1000 / (offset + np.bincount(labels, minlength=len(data.label_names)))
    weights = np.bincount(places, of_class[labels], minlength=len(rows))
    return np.maximum(weights, weights[weights > 0].min(initial=1000))
