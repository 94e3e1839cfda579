"""The CPU forms of `aemjax.models.ops` against XLA's own, forward and gradient."""

import statistics
import time

import jax
import jax.numpy as jnp
from jax import lax

from aemjax.models import ops

# The first separable convolutions of AemNet-DW 0.5, 16 clips of 1 s.
IMAGE = (16, 50, 64, 32)


def run(*, repeats: int) -> list[dict]:
    """Prints and returns one row per operation: time of the plain form over ours."""
    keys = jax.random.split(jax.random.key(0), 3)
    image = jax.random.normal(keys[0], IMAGE)
    taps = jax.random.normal(keys[1], (3, 3, 1, IMAGE[-1]))
    matrix = jax.random.normal(keys[2], (1, 1, IMAGE[-1], IMAGE[-1]))
    pool = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
    cases = {
        "depthwise 3x3": (ops.plain_depthwise, ops.shifted_depthwise, (image, taps)),
        "max-pool 2x2": (
            lambda x: ops.plain_max_pool(x, **pool),
            lambda x: ops.shifted_max_pool(x, **pool),
            (image,),
        ),
        "pointwise 1x1": (
            _plain_pointwise,
            lambda x, w: ops.pointwise_conv(x, w, (1, 1), "VALID"),
            (image, matrix),
        ),
    }
    rows = []
    for name, (plain, ours, arguments) in cases.items():
        for part, wrap in (("forward", jax.jit), ("with gradient", _with_gradient)):
            ratio = _ratio(wrap(plain), wrap(ours), arguments, repeats)
            rows.append({"operation": name, "part": part, "plain / ours": ratio})
            print(f"{name:<14} {part:<14} plain / ours = {ratio:.2f}")
    return rows


def _plain_pointwise(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _with_gradient(function):
    def loss(*arguments):
        return jnp.square(function(*arguments)).sum()

    return jax.jit(lambda *a: jax.grad(loss, argnums=tuple(range(len(a))))(*a))


def _ratio(plain, ours, arguments, repeats: int) -> float:
    """Median over pairs of runs in turn, so that a drifting machine cancels out."""
    for function in (plain, ours):
        jax.block_until_ready(function(*arguments))
    ratios = []
    for _ in range(repeats):
        seconds = []
        for function in (plain, ours):
            start = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return round(statistics.median(ratios), 2)
