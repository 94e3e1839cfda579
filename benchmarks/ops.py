"""The forms of `aemjax.models.ops` against XLA's own, forward and gradient.

Those of the platform that it runs on: a CPU, or a GPU.
"""

import statistics
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from aemjax.models import ops
from aemjax.models.compiling import jit_network

# The first separable convolutions of AemNet-DW 0.5, 16 clips of 1 s.
IMAGE = (16, 50, 64, 32)
# What AemResNet's first stage and its conv3 read there.
RESNET_IMAGE = (16, 50, 64, 64)
SMALL_FEATURES = (16, 100, 128, 1)
# What AemResNet's conv3 makes of 32 clips of 10 s, and reads; and what LLF reads.
LARGE_IMAGE = (32, 1000, 128, 64)
FEATURES = (32, 1000, 128, 1)
AUDIO = (32, 160_000, 1)


def run(*, repeats: int) -> list[dict]:
    """Prints and returns one row per operation: time of the plain form over ours."""
    cases = _on_a_cpu() if jax.default_backend() == "cpu" else _on_a_gpu()
    rows = []
    for name, (plain, ours, arguments) in cases.items():
        # Of one function, how it is compiled is compared.
        plainly = jax.jit if plain is ours else jit_network
        for part, wrap in (("forward", _alone), ("with gradient", _with_gradient)):
            pair = plainly(wrap(plain)), jit_network(wrap(ours))
            ratio = _ratio(*pair, arguments, repeats)
            rows.append({"operation": name, "part": part, "plain / ours": ratio})
            print(f"{name:<14} {part:<14} plain / ours = {ratio:.2f}")
    return rows


def _on_a_cpu() -> dict:
    image, taps, matrix = _random(IMAGE, (3, 3, 1, IMAGE[-1]), (1, 1, *2 * IMAGE[-1:]))
    pool = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
    features, filters = _random(SMALL_FEATURES, (3, 3, 1, 64))
    wide_image, wide_filters = _random(RESNET_IMAGE, (3, 3, 64, 64))

    def conv(form):
        return lambda x, kernel: form(x, kernel, (1, 1), ((1, 1), (1, 1)))

    return {
        "depthwise 3x3": (ops.plain_depthwise, ops.shifted_depthwise, (image, taps)),
        "max-pool 2x2": (
            lambda x: ops.plain_max_pool(x, **pool),
            lambda x: ops.shifted_max_pool(x, **pool),
            (image,),
        ),
        "pointwise 1x1": (
            _convolution,
            lambda x, w: ops.pointwise_conv(x, w, (1, 1), "VALID"),
            (image, matrix),
        ),
        "1x1, of rows": (
            lambda x, w: _normalized(x @ w[0, 0]),
            lambda x, w: _normalized(ops.product_of_rows(x, w[0, 0])),
            (image, matrix),
        ),
        "conv3": (
            conv(ops.plain_one_channel_conv),
            conv(ops.patches_gradient_conv),
            (features, filters),
        ),
        "compiling 3x3": (_convolution, _convolution, (wide_image, wide_filters)),
    }


def _on_a_gpu() -> dict:
    image, features, taps, audio, filters = _random(
        LARGE_IMAGE, FEATURES, (3, 3, 1, 64), AUDIO, (33, 1, 64), dtype=jnp.bfloat16
    )
    around = ((1, 1), (1, 1))

    def pool(form):
        return lambda x: form(x, (3, 3), (2, 2), around)

    def conv(form, strides, padding):
        return lambda x, kernel: form(x, kernel, strides, padding)

    plain, patches = ops.plain_one_channel_conv, ops.patches_conv
    return {
        "max-pool 3x3": (
            pool(ops.plain_max_pool),
            pool(ops.indexed_max_pool),
            (image,),
        ),
        "conv3": (
            conv(plain, (1, 1), around),
            conv(patches, (1, 1), around),
            (features, taps),
        ),
        "filter bank": (
            conv(plain, (16,), ((16, 16),)),
            conv(patches, (16,), ((16, 16),)),
            (audio, filters),
        ),
    }


def _random(*shapes: tuple[int, ...], dtype=jnp.float32) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(0), len(shapes))
    pairs = zip(keys, shapes, strict=True)
    return [jax.random.normal(key, shape, dtype) for key, shape in pairs]


def _normalized(x):
    """As behind every convolution: what comes back to it is not just there."""
    over = {"axis": (0, 1, 2), "keepdims": True}
    return nn.relu((x - x.mean(**over)) * lax.rsqrt(x.var(**over) + 1e-5))


def _convolution(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _alone(function):
    return function


def _with_gradient(function):
    def loss(*arguments):
        return jnp.square(function(*arguments)).sum()

    return lambda *a: jax.grad(loss, argnums=tuple(range(len(a))))(*a)


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
