"""Which parameters to prune: the smallest ones of kernels.

Galindo-Meza 2021, chapter 5.4.1: a share of all parameters is set to zero. Kernels alone
are pruned; biases and BatchNorm's parameters are few and carry much.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

PyTree = Any

SCOPES = ("global", "layer")


def count_zeros(params: PyTree, sparsity: int | float) -> int:
    """How many parameters a sparsity sets to zero.

    Args:
      sparsity: share of all parameters, kernels or not.

    Raises:
      ValueError: if it is negative, or more than the kernels have.
    """
    total = sum(leaf.size for leaf in flatten_dict(params).values())
    of_kernels = sum(leaf.size for leaf in _kernels(params).values())
    zeros = round(sparsity * total)
    if not 0 <= zeros <= of_kernels:
        raise ValueError(
            f"sparsity is {sparsity}, which is {zeros:,} of {total:,} parameters; "
            f"expected 0 to {of_kernels / total:.4f}: only the {of_kernels:,} of "
            "kernels are pruned"
        )
    return zeros


def magnitude_masks(params: PyTree, *, zeros: int, scope: str = "global") -> PyTree:
    """Masks of every kernel, with False at its smallest magnitudes.

    Of equal magnitudes the first go. What is zero already goes first, so that masks of
    more zeros keep those of fewer.

    Args:
      zeros: how many in all.
      scope: "global": the smallest of all kernels together; "layer": of each kernel the
        same share.

    Returns:
      Boolean NumPy arrays, nested like `params`, of kernels alone.

    Raises:
      ValueError: on another scope, or more zeros than there are values.
    """
    kernels = {
        path: np.abs(np.asarray(leaf)) for path, leaf in _kernels(params).items()
    }
    sizes = [kernel.size for kernel in kernels.values()]
    if not 0 <= zeros <= sum(sizes):
        raise ValueError(f"zeros is {zeros}, expected from 0 to {sum(sizes)}")
    if scope not in SCOPES:
        raise ValueError(f"unknown scope {scope!r}; known: {', '.join(SCOPES)}")
    order = np.ravel if scope == "global" else _places
    every = np.concatenate([order(kernel) for kernel in kernels.values()])
    kept = np.ones(every.size, bool)
    kept[np.argsort(every, kind="stable")[:zeros]] = False
    kept = np.split(kept, np.cumsum(sizes)[:-1])
    return unflatten_dict(
        {
            path: own.reshape(kernel.shape)
            for (path, kernel), own in zip(kernels.items(), kept, strict=True)
        }
    )


def _kernels(params: PyTree) -> Mapping[tuple[str, ...], Any]:
    flat = flatten_dict(params)
    return {path: leaf for path, leaf in flat.items() if path[-1] == "kernel"}


def _places(kernel: np.ndarray) -> np.ndarray:
    """Of each value the share of its kernel that is smaller.

    The smallest of these over all kernels are spread evenly (Webster's method), and those
    of a smaller number are among those of a larger.
    """
    ranks = np.empty(kernel.size)
    ranks[np.argsort(kernel.ravel(), kind="stable")] = np.arange(kernel.size)
    return (ranks + 0.5) / kernel.size


def geometric_schedule(sparsity: float, rounds: int) -> list[float]:
    """Sparsities of rounds of pruning, each leaving the same share of what was left.

    Frankle & Carbin, ICLR 2019, section 2.
    """
    return [1 - (1 - sparsity) ** (done / rounds) for done in range(1, rounds + 1)]
