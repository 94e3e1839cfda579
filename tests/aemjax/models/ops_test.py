import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from aemjax.models import ops
from aemjax.models.layers import conv_bn

IMAGES = [
    (2, 7, 9, 4),
    (3, 6, 5, 1),
    (2, 1, 5, 3),  # one frame
    (2, 5, 1, 3),  # one row
    (1, 1, 1, 2),
]
# Shape, window, strides, padding.
POOLS = [
    ((2, 6, 8, 3), (2, 2), (2, 2), ((0, 0), (0, 0))),
    ((2, 7, 5, 3), (2, 2), (2, 2), ((0, 1), (0, 1))),
    ((2, 1, 1, 3), (2, 2), (2, 2), ((0, 1), (0, 1))),
    ((2, 7, 8, 3), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((2, 1, 2, 3), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((2, 20, 3), (5,), (5,), ((0, 0),)),
    ((2, 24, 3), (5,), (5,), ((0, 0),)),  # an incomplete last frame
    ((2, 39, 3), (10,), (10,), ((0, 0),)),
]


def normal(shape, seed=0):
    rng = np.random.default_rng((seed, *shape))
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def value_and_gradients(fn, *args):
    """`fn(*args)`, and the gradients of its sum under random weights."""
    out = jax.eval_shape(fn, *args)
    weights = normal(out.shape, seed=2)

    def both(*args):
        value, pullback = jax.vjp(fn, *args)
        return value, pullback(weights)

    # On inputs this small, LLVM's optimisations take longer than they save.
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(both, compiler_options=options)(*args)


def assert_same(got, expected, *, rtol=1e-5):
    scale = max(np.abs(expected).max(), 1)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * scale)


# Depthwise convolution.


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_shifted_depthwise_equals_plain(shape):
    x, kernel = normal(shape), normal((3, 3, 1, shape[-1]))
    got = value_and_gradients(ops.shifted_depthwise, x, kernel)
    expected = value_and_gradients(ops.plain_depthwise, x, kernel)
    jax.tree.map(assert_same, got, expected)


def test_shifted_depthwise_by_hand():
    x = jnp.zeros((1, 3, 3, 2)).at[0, 1, 1].set(1.0)
    kernel = jnp.arange(18, dtype=jnp.float32).reshape(3, 3, 1, 2)
    # A correlation turns the kernel around a single one.
    expected = kernel[::-1, ::-1, 0][None]
    np.testing.assert_array_equal(ops.shifted_depthwise(x, kernel), expected)


def conv3(form):
    return lambda x, kernel: form(x, kernel, (1, 1), ((1, 1), (1, 1)))


@pytest.mark.parametrize(
    ("form", "plain", "channels", "shape"),
    [
        (ops.shifted_depthwise, ops.plain_depthwise, 3, (3, 3, 1, 3)),
        (ops.product_of_rows, jnp.matmul, 3, (3, 4)),
        (
            conv3(ops.patches_gradient_conv),
            conv3(ops.plain_one_channel_conv),
            1,
            (3, 3, 1, 4),
        ),
    ],
)
def test_forms_in_bfloat16(form, plain, channels, shape):
    x, kernel = normal((2, 5, 6, channels)), normal(shape)
    fn = lambda x, k: form(x, k).astype(jnp.float32)  # noqa: E731
    narrow = (x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    value, gradients = value_and_gradients(fn, *narrow)
    assert [g.dtype for g in gradients] == [jnp.bfloat16] * 2
    expected = value_and_gradients(plain, x, kernel)
    got = (value, tuple(g.astype(jnp.float32) for g in gradients))
    jax.tree.map(functools.partial(assert_same, rtol=0.05), got, expected)


def depthwise(x, kernel):
    return ops.depthwise_conv(x, kernel, (1, 1), ((1, 1), (1, 1)))


def pointwise(x, kernel):
    return ops.pointwise_conv(x, kernel, (1, 1), ((0, 0), (0, 0)))


@pytest.mark.parametrize(
    ("form", "channels", "shape"),
    [
        (depthwise, 4, (3, 3, 1, 4)),
        (pointwise, 4, (1, 1, 4, 3)),
        (conv3(ops.one_channel_conv), 1, (3, 3, 1, 4)),
    ],
)
def test_gradients_gather_nothing_over_devices(form, channels, shape):
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    assert mesh.size == 8
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())

    def gradients(x, kernel):
        loss = lambda x, k: (form(x, k) ** 2).sum()  # noqa: E731
        return jax.grad(loss, argnums=(0, 1))(x, kernel)

    x, kernel = normal((16, 5, 6, channels)), normal(shape)
    step = jax.jit(gradients, in_shardings=(split, whole), out_shardings=(split, whole))
    compiled = step.lower(x, kernel).compile()
    text = compiled.as_text()
    assert "all-reduce" in text  # the kernel's gradient, and nothing else, is shared
    for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert collective not in text
    loops = re.findall(r" while\(.*body=(%[^,]+)", text)
    for part in text.split("\n\n"):  # each turn of which would wait for all devices
        if part.strip().startswith(tuple(f"{name} " for name in loops)):
            assert "all-reduce" not in part
    got = compiled(jax.device_put(x, split), jax.device_put(kernel, whole))
    jax.tree.map(assert_same, got, jax.jit(gradients)(x, kernel))


def lowered(fn, platform, *args):
    return jax.jit(fn).trace(*args).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_each_platform_gets_the_form_that_is_quick_there(platform):
    x, kernel = normal((2, 5, 6, 3)), normal((3, 3, 1, 3))
    found = "stablehlo.convolution" in lowered(depthwise, platform, x, kernel)
    assert found == (platform != "cpu")
    pool = functools.partial(
        ops.max_pool, window=(2, 2), strides=(2, 2), padding=((0, 1), (0, 0))
    )
    found = "stablehlo.reduce_window" in lowered(pool, platform, x)
    assert found == (platform == "tpu")
    conv = functools.partial(
        ops.one_channel_conv, window_strides=(16,), padding=((16, 16),)
    )
    found = "stablehlo.convolution" in lowered(
        conv, platform, normal((2, 400, 1)), normal((33, 1, 4))
    )
    assert found == (platform != "cuda")
    image, kernel = normal((2, 5, 6, 1)), normal((3, 3, 1, 4))
    gradient = jax.grad(lambda *a: conv3(ops.one_channel_conv)(*a).sum(), argnums=1)
    found = "stablehlo.convolution" in lowered(gradient, platform, image, kernel)
    assert found == (platform == "tpu")
    rows = "tensor<60x4xf32>" in lowered(
        pointwise, platform, normal((2, 5, 6, 3)), normal((1, 1, 3, 4))
    )
    assert rows == (platform == "cpu")


@pytest.mark.parametrize(
    ("kernel", "strides", "padding"),
    [
        ((5, 5, 1, 4), (1, 1), ((2, 2), (2, 2))),
        ((3, 1, 1, 4), (1, 1), ((1, 1), (0, 0))),
        ((1, 1, 1, 4), (1, 1), ((0, 0), (0, 0))),
        ((3, 3, 2, 4), (1, 1), ((1, 1), (1, 1))),
        ((3, 3, 1, 4), (2, 2), ((1, 1), (1, 1))),
        ((3, 3, 1, 4), (1, 1), ((0, 0), (0, 0))),
    ],
    ids=str,
)
def test_other_depthwise_convolutions_are_refused(kernel, strides, padding):
    message = r"does 3x3, stride 1, padding 1; got kernel \({}, {}, .*strides \({}, "
    message = message.format(*kernel[:2], strides[0])
    with pytest.raises(ValueError, match=message):
        ops.depthwise_conv(normal((1, 6, 6, 4)), normal(kernel), strides, padding)


# Pointwise convolution.


@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (1, 1, 1, 3)], ids=str)
def test_pointwise_equals_the_convolution(shape):
    x, kernel = normal(shape), normal((1, 1, 3, 6))
    strides, padding = (1, 1), ((0, 0), (0, 0))

    def plain(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=numbers
        )

    got = value_and_gradients(
        lambda x, k: ops.pointwise_conv(x, k, strides, padding), x, kernel
    )
    jax.tree.map(assert_same, got, value_and_gradients(plain, x, kernel))


# Convolution of one channel.


@pytest.mark.parametrize(
    ("shape", "kernel", "strides", "padding"),
    [
        ((2, 4000, 1), (33, 1, 6), (16,), ((16, 16),)),
        ((2, 4007, 1), (9, 1, 6), (4,), ((4, 4),)),
        ((2, 400, 1), (10, 1, 6), (2,), ((4, 5),)),
        ((2, 160, 1), (5, 1, 6), (16,), ((2, 2),)),  # frames longer than the kernel
        ((2, 7, 9, 1), (3, 3, 1, 6), (1, 1), ((1, 1), (1, 1))),
        ((1, 1, 5, 1), (3, 3, 1, 6), (1, 1), ((1, 1), (1, 1))),
    ],
    ids=str,
)
@pytest.mark.parametrize("form", [ops.patches_conv, ops.patches_gradient_conv])
def test_a_product_of_patches_equals_the_convolution(
    form, shape, kernel, strides, padding
):
    x, kernel = normal(shape), normal(kernel)
    got, expected = (
        value_and_gradients(
            lambda x, k, conv=conv: conv(x, k, strides, padding), x, kernel
        )
        for conv in (form, ops.plain_one_channel_conv)
    )
    jax.tree.map(assert_same, got, expected)


def test_a_strided_image_is_left_to_xla():
    x, kernel = normal((2, 8, 9, 1)), normal((3, 3, 1, 4))
    conv = functools.partial(
        ops.one_channel_conv, window_strides=(2, 1), padding=((1, 1), (1, 1))
    )
    assert "stablehlo.convolution" in lowered(conv, "cuda", x, kernel)


# Max-pool.

POOL_FORMS = (ops.shifted_max_pool, ops.indexed_max_pool)


@pytest.mark.parametrize("form", POOL_FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize(("shape", "window", "strides", "padding"), POOLS, ids=str)
def test_max_pool_equals_plain(form, shape, window, strides, padding):
    # After a ReLU, as in the networks: half of the input ties at 0.
    def pool(fn, x):
        return fn(jax.nn.relu(x), window, strides, padding)

    x = normal(shape)
    assert len(np.unique(x)) == x.size  # no other ties
    got = value_and_gradients(functools.partial(pool, form), x)
    expected = value_and_gradients(functools.partial(pool, ops.plain_max_pool), x)
    jax.tree.map(functools.partial(assert_same, rtol=1e-6), got, expected)


def test_the_gradient_of_a_pool_reaches_one_element_of_a_tie():
    x, pool = jnp.ones((1, 4, 1)), ((2,), (2,), ((0, 0),))
    gradient = jax.grad(lambda x: ops.indexed_max_pool(x, *pool).sum())(x)
    np.testing.assert_array_equal(gradient[0, :, 0], [1, 0, 1, 0])


@pytest.mark.parametrize("form", POOL_FORMS, ids=lambda form: form.__name__)
def test_max_pool_of_negative_values(form):
    x = -1 - jnp.abs(normal((2, 5, 7, 3)))  # padding with zeros would win
    for window, padding in (((2, 2), ((0, 1), (0, 1))), ((3, 3), ((1, 1), (1, 1)))):
        args = (x, window, (2, 2), padding)
        got = form(*args)
        assert (got < -1).all()
        np.testing.assert_array_equal(got, ops.plain_max_pool(*args))


def test_max_pool_by_hand():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    got = ops.max_pool(x, (2, 2), (2, 2), ((0, 1), (0, 1)))
    np.testing.assert_array_equal(got[0, :, :, 0], [[6, 8, 9], [11, 13, 14]])
    got = ops.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    np.testing.assert_array_equal(got[0, :, :, 0], [[6, 8, 9], [11, 13, 14]])
    got = ops.max_pool(x[:, :, :, 0], (2,), (2,), ((0, 0),))
    np.testing.assert_array_equal(got, x[:, 1:2, :, 0])


@pytest.mark.parametrize("form", POOL_FORMS, ids=lambda form: form.__name__)
def test_max_pool_keeps_bfloat16(form):
    x = normal((2, 5, 7, 3)).astype(jnp.bfloat16)
    args = (x, (2, 2), (2, 2), ((0, 1), (0, 1)))
    got = form(*args)
    assert got.dtype == ops.plain_max_pool(*args).dtype == jnp.bfloat16
    gradient = jax.grad(lambda x: form(x, *args[1:]).astype(jnp.float32).sum())(x)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        got.astype(jnp.float32), ops.plain_max_pool(*args).astype(jnp.float32)
    )


class _Stack(nn.Module):
    """Two units whose pools XLA fuses with what is before them."""

    @nn.compact
    def __call__(self, x):
        for number in (1, 2):
            names = {"conv": f"conv{number}", "bn": f"bn{number}"}
            x, _ = conv_bn(x, None, 8, (3, 3), train=True, **names)
            x = ops.max_pool(x, (2, 2), (2, 2), ((0, 0), (0, 0)))
        return x


def test_the_gradient_of_a_pool_survives_fusion(monkeypatch):
    image = jnp.asarray(
        np.random.default_rng(0).normal(size=(4, 10, 128, 1)), "float32"
    )
    variables = jax.jit(_Stack().init)(jax.random.key(0), image)

    def loss(params):
        both = {"params": params, "batch_stats": variables["batch_stats"]}
        x, _ = _Stack().apply(both, image, mutable=["batch_stats"])
        return jnp.sin(x * jnp.arange(x.size).reshape(x.shape)).sum()

    got = jax.jit(jax.grad(loss))(variables["params"])
    monkeypatch.setattr(ops, "shifted_max_pool", ops.plain_max_pool)
    expected = jax.jit(jax.grad(loss))(variables["params"])
    for mine, plain in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
        scale = np.abs(plain).max()
        np.testing.assert_allclose(mine / scale, plain / scale, atol=1e-3)
