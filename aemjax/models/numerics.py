"""What a network computes with: floats, or what an engine of 8-bit integers holds.

"float" is the network as published. "folded" is the same function with each BatchNorm
folded into the convolution before it, which gets a bias: what engines run. "int8" is
folded too, and rounds: kernels to 255 values of a step for each output channel, and the
activations between layers to 256 values (255, where they may be negative) of a range that
is followed while it trains
(Jacob et al., CVPR 2018, sections 2 and 3). The gradient goes through the rounding as if
it were not there.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax
from jaxtyping import Array, Float

PyTree = Any

FLOAT, FOLDED, INT8 = "float", "folded", "int8"
NUMERICS = (FLOAT, FOLDED, INT8)

RANGE_MOMENTUM = 0.99
KERNEL_LEVELS = 127  # on either side of zero: -128 is left out, so that zero is a value
SIGNED_LEVELS, UNSIGNED_LEVELS = 127, 255


def check(numerics: str) -> str:
    """The same.

    Raises:
      ValueError: if it is unknown.
    """
    if numerics not in NUMERICS:
        raise ValueError(f"unknown numerics {numerics!r}; known: {', '.join(NUMERICS)}")
    return numerics


def kernel_step(kernel: Float[Array | np.ndarray, "*size c"]) -> Float[Array, "c"]:
    """Between the values that each output channel is rounded to; 1 if it is all zero."""
    largest = abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    return jnp.where(largest > 0, largest / KERNEL_LEVELS, 1.0)


def round_kernel(kernel: Float[Array, "*size c"]) -> Float[Array, "*size c"]:
    """A kernel as int8 holds it: zeros stay, and a rounded one is rounded to itself."""
    step = lax.stop_gradient(kernel_step(kernel))
    step = step.reshape((1,) * (kernel.ndim - 1) + (-1,))
    return _round(kernel / step) * step


def round_kernels(params: PyTree) -> PyTree:
    """Parameters with every kernel as int8 holds it."""
    return unflatten_dict(
        {
            path: round_kernel(jnp.asarray(x)) if path[-1] == "kernel" else x
            for path, x in flatten_dict(params).items()
        }
    )


def rounding_kernels(numerics: str, operation: Callable) -> Callable:
    """(x, kernel, ...) -> that of the operation, with the kernel rounded if asked for."""
    if numerics != INT8:
        return operation

    def rounded(x, kernel, *args, **kwargs):
        return operation(x, round_kernel(kernel), *args, **kwargs)

    return rounded


class Rounding(nn.Module):
    """Rounds activations to 8 bits of a range, if the network is one of integers.

    The range is a running average of each batch's largest magnitude, kept with the
    statistics of BatchNorm, and 0 until a first batch was seen: then nothing is rounded.

    Attributes:
      numerics: of the network.
      signed: whether the activations may be negative.
    """

    numerics: str
    signed: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        if self.numerics != INT8:
            return x
        limit = self.variable("batch_stats", "limit", jnp.zeros, (), jnp.float32)
        if train and not self.is_initializing():
            largest = lax.stop_gradient(abs(x).max().astype(jnp.float32))
            followed = limit.value + (1 - RANGE_MOMENTUM) * (largest - limit.value)
            limit.value = jnp.where(limit.value > 0, followed, largest)
        levels = SIGNED_LEVELS if self.signed else UNSIGNED_LEVELS
        step = (limit.value / levels).astype(x.dtype)
        safe = jnp.where(step > 0, step, 1)
        low = -SIGNED_LEVELS if self.signed else 0
        rounded = _round(jnp.clip(x / safe, low, levels)) * safe
        return jnp.where(step > 0, rounded, x)


def _round(x: Array) -> Array:
    return x + lax.stop_gradient(jnp.round(x) - x)
