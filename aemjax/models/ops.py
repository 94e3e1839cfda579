"""Operations that a backend of XLA runs badly, each beside its plain form.

On CPU a grouped convolution and the gradients of a max-pool and of convolutions of one
place or one channel take many times what their arithmetic needs, on CUDA a max-pool, its
gradient and a convolution of one channel (`python -m benchmarks ops` prints the ratios
there): they are written as shifted element-wise arithmetic or as matrix products. Every
other platform gets XLA's own. (On CPU that of a max-pool also reads outside of one clip's map of a frame or two, in jax
0.10.2: whole networks gave other scores.)
"""

import contextlib
import contextvars
import functools
import itertools
from collections.abc import Callable, Iterator
from functools import reduce

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Whether every platform gets XLA's own operations.
_plain = contextvars.ContextVar("plain", default=False)

Image = Float[Array, "b f w c"]
Kernel = Float[Array, "3 3 1 c"]


@contextlib.contextmanager
def plain_forms() -> Iterator[None]:
    """Within it models are traced as plain operations, which other engines know.

    What was traced before, with the same shapes, stays as it was.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def plain_depthwise(x: Image, kernel: Kernel) -> Image:
    """3x3 depthwise convolution with stride 1 and padding 1, as XLA's own."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _padded(x: Image) -> Float[Array, "b f+2 w+2 c"]:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


@jax.custom_vjp
def shifted_depthwise(x: Image, kernel: Kernel) -> Image:
    """The same function as nine shifted multiply-adds, with a gradient to match."""
    frames, width = x.shape[1:3]
    padded = _padded(x)
    return sum(
        padded[:, i : i + frames, j : j + width] * kernel[None, i : i + 1, j : j + 1, 0]
        for i in range(3)
        for j in range(3)
    )


def _forward(x, kernel):
    return shifted_depthwise(x, kernel), (x, kernel)


def _backward(residuals, grad):
    x, kernel = residuals
    # To its input, the gradient of a correlation is the correlation with the kernel
    # turned by 180 degrees; to each tap of its kernel, the sum of gradient times the
    # input that the tap saw. Summed frame by frame, so that the products stay in cache;
    # over examples at the end, so that devices that share them add up once.
    to_input = shifted_depthwise(grad, kernel[::-1, ::-1])
    frames, width = x.shape[1:3]
    padded = _padded(x)

    def add_frame(frame, total):
        rows = lax.dynamic_slice_in_dim(padded, frame, 3, axis=1)
        grad_row = lax.dynamic_slice_in_dim(grad, frame, 1, axis=1)[:, 0]
        products = [
            (rows[:, i, j : j + width] * grad_row).sum(1, dtype=jnp.float32)
            for i in range(3)
            for j in range(3)
        ]
        return total + jnp.stack(products, axis=1)

    start = jnp.zeros((len(x), 9, x.shape[-1]))
    taps = lax.fori_loop(0, frames, add_frame, start).sum(0)
    return to_input, taps.reshape(kernel.shape).astype(kernel.dtype)


shifted_depthwise.defvjp(_forward, _backward)


def depthwise_conv(x, kernel, window_strides, padding, **options) -> Image:
    """Stands in for `lax.conv_general_dilated` in a 3x3 depthwise `nn.Conv`.

    Raises:
      ValueError: if the convolution is not 3x3 with stride 1 and padding 1.
    """
    asked = (kernel.shape[:3], tuple(window_strides), tuple(map(tuple, padding)))
    if asked != ((3, 3, 1), (1, 1), ((1, 1), (1, 1))):
        raise ValueError(
            f"depthwise_conv does 3x3, stride 1, padding 1; got kernel {kernel.shape}, "
            f"strides {window_strides}, padding {padding}"
        )
    if _plain.get():
        return plain_depthwise(x, kernel)
    return lax.platform_dependent(
        x, kernel, cpu=shifted_depthwise, default=plain_depthwise
    )


def pointwise_conv(
    x: Image, kernel: Float[Array, "1 1 c d"], window_strides, padding, **options
) -> Float[Array, "b f w d"]:
    """Stands in for `lax.conv_general_dilated` in a 1x1 `nn.Conv`: a matrix product."""
    matrix = kernel[0, 0]
    if _plain.get():
        return x @ matrix
    return lax.platform_dependent(
        x, matrix, cpu=product_of_rows, default=lambda x, matrix: x @ matrix
    )


def product_of_rows(
    x: Float[Array, "*b c"], matrix: Float[Array, "c d"]
) -> Float[Array, "*b d"]:
    """`x @ matrix`, as a product of two matrices.

    With more axes XLA computes on a CPU what comes back to such a matrix once more,
    column by column.
    """
    rows = x.reshape(-1, x.shape[-1]) @ matrix
    return rows.reshape(*x.shape[:-1], matrix.shape[-1])


def one_channel_conv(x, kernel, window_strides, padding, **options) -> Array:
    """Stands in for `lax.conv_general_dilated` in an `nn.Conv` of one input channel."""
    symbolic = not all(isinstance(size, int) for size in x.shape[1:])  # no slices then
    steps_wide = x.ndim > 3 and set(window_strides) != {1}
    how = (tuple(window_strides), tuple(map(tuple, padding)))
    if _plain.get() or symbolic or steps_wide:
        return plain_one_channel_conv(x, kernel, *how)
    on_cpu = plain_one_channel_conv if x.ndim == 3 else patches_gradient_conv
    return lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, kernel: on_cpu(x, kernel, *how),
        cuda=lambda x, kernel: patches_conv(x, kernel, *how),
        default=lambda x, kernel: plain_one_channel_conv(x, kernel, *how),
    )


def plain_one_channel_conv(x, kernel, window_strides, padding) -> Array:
    """XLA's own."""
    letters = "HW"[: x.ndim - 2]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return lax.conv_general_dilated(
        x, kernel, window_strides, padding, dimension_numbers=numbers
    )


def _for_matrix_units(x, matrix) -> Array:
    """`x @ matrix`, its rows padded to a multiple of 16, in which such units work."""
    short = -len(matrix) % 16
    x = jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, short),))
    return x @ jnp.pad(matrix, ((0, short), (0, 0)))


def patches_conv(
    x, kernel, window_strides, padding, *, product: Callable = _for_matrix_units
) -> Array:
    """The same as one matrix product of what each place sees.

    The stride of a 1-D convolution divides its axis into frames, of which each place
    sees a few; a 2-D one has stride 1.

    Args:
      product: of patches and a matrix.
    """
    taps = kernel.shape[0]
    stride = window_strides[0]
    outputs = (x.shape[1] + sum(padding[0]) - taps) // stride + 1
    frames = -(-taps // stride)  # that a place sees
    low, high = padding[0]
    high = (outputs + frames - 1) * stride - x.shape[1] - low
    x = lax.pad(x, jnp.zeros((), x.dtype), _pad_config((low, high), *padding[1:]))
    kernel = jnp.pad(
        kernel, ((0, frames * stride - taps),) + ((0, 0),) * (kernel.ndim - 1)
    )
    if x.ndim == 3:
        x = x.reshape(x.shape[0], -1, stride)  # b frames stride
        seen = [x[:, i : i + outputs] for i in range(frames)]
    else:
        width = x.shape[2] - kernel.shape[1] + 1
        seen = [
            x[:, i : i + outputs, j : j + width]
            for i in range(frames)
            for j in range(kernel.shape[1])
        ]
    patches = jnp.concatenate(seen, axis=-1)
    return product(patches, kernel.reshape(-1, kernel.shape[-1]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def patches_gradient_conv(x, kernel, window_strides, padding) -> Array:
    """XLA's own with the gradient of the matrix product."""
    return plain_one_channel_conv(x, kernel, window_strides, padding)


def _patches_forward(x, kernel, window_strides, padding):
    y = plain_one_channel_conv(x, kernel, window_strides, padding)
    return y, (x, kernel)


def _patches_backward(window_strides, padding, residuals, grad):
    def convolve(x, kernel):
        return patches_conv(x, kernel, window_strides, padding, product=product_of_rows)

    # In float32, as XLA's own adds up.
    x, kernel = (value.astype(jnp.float32) for value in residuals)
    found = jax.vjp(convolve, x, kernel)[1](grad.astype(jnp.float32))
    return tuple(map(lambda ours, own: ours.astype(own.dtype), found, residuals))


patches_gradient_conv.defvjp(_patches_forward, _patches_backward)


def _pad_config(*spatial: tuple[int, int]) -> list[tuple[int, int, int]]:
    return [(0, 0, 0), *((low, high, 0) for low, high in spatial), (0, 0, 0)]


def max_pool(
    x: Array,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
) -> Array:
    """Max-pool over the axes between batch and channels; padding is never the maximum.

    In `plain_forms` that holds of activations that are not negative.

    Where several elements of a window are its maximum, which of them the gradient
    reaches depends on the platform; after a ReLU only zeros tie, where it is zero.
    """
    if _plain.get():
        # Some converters drop the padding of a pool, so it is written out. After a ReLU
        # zero is never the maximum either, and integers have no infinity.
        x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        return plain_max_pool(x, window, strides, ((0, 0),) * len(window))
    return lax.platform_dependent(
        x,
        cpu=lambda x: shifted_max_pool(x, window, strides, padding),
        cuda=lambda x: indexed_max_pool(x, window, strides, padding),
        default=lambda x: plain_max_pool(x, window, strides, padding),
    )


def plain_max_pool(x, window, strides, padding) -> Array:
    """XLA's own."""
    return nn.max_pool(x, window_shape=window, strides=strides, padding=padding)


def shifted_max_pool(x, window, strides, padding) -> Array:
    """The maximum of one strided view per element of the window."""
    return reduce(_larger, _views(x, window, strides, padding))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def indexed_max_pool(x, window, strides, padding) -> Array:
    """The same with a gradient that knows which element was the maximum.

    XLA's own gradient compares again, in float32 whatever the type.
    """
    return shifted_max_pool(x, window, strides, padding)


def _indexed_forward(x, window, strides, padding):
    best, *others = _views(x, window, strides, padding)
    index = jnp.zeros(best.shape, jnp.uint8)
    for number, view in enumerate(others, 1):
        larger = (best < view) | jnp.isnan(view)
        best, index = jnp.where(larger, view, best), jnp.where(larger, number, index)
    return best, (index, x.shape)


def _indexed_backward(window, strides, padding, residuals, grad):
    index, shape = residuals

    def spread(number, offsets):
        """What comes to the element of each window at these offsets, in its place."""
        config = [(0, 0, 0)]
        for axis, offset in enumerate(offsets):
            stride, low = strides[axis], offset - padding[axis][0]
            seen = (grad.shape[axis + 1] - 1) * stride + 1
            config.append((low, shape[axis + 1] - low - seen, stride - 1))
        part = jnp.where(index == number, grad, 0)
        return lax.pad(part, jnp.zeros((), grad.dtype), [*config, (0, 0, 0)])

    offsets = itertools.product(*map(range, window))
    return (sum(itertools.starmap(spread, enumerate(offsets))),)


indexed_max_pool.defvjp(_indexed_forward, _indexed_backward)


def _views(x: Array, window, strides, padding) -> list[Array]:
    """For each element of the window, what it sees; the padding is never larger."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf)
    outputs = [
        (size - width) // stride + 1
        for size, width, stride in zip(x.shape[1:-1], window, strides, strict=True)
    ]

    def view(offsets):
        seen = x
        for axis, (offset, output, stride) in enumerate(
            zip(offsets, outputs, strides, strict=True), 1
        ):
            if isinstance(output, int):
                stop = offset + (output - 1) * stride + 1
                seen = lax.slice_in_dim(seen, offset, stop, stride, axis)
            else:  # no end of a slice may be symbolic
                places = offset + stride * jnp.arange(output)
                seen = jnp.take(seen, places, axis, mode="clip")
        return seen

    return [view(offsets) for offsets in itertools.product(*map(range, window))]


def _larger(x: Array, y: Array) -> Array:
    # Not `jnp.maximum`, whose gradient asks which argument equals the result: a fusion
    # that computes them again rounds otherwise, neither does, and the gradient is lost.
    return jnp.where((x < y) | jnp.isnan(y), y, x)
