"""The 3x3 depthwise convolution, in the form that each platform runs well.

XLA's CPU backend runs a grouped convolution many times slower than the arithmetic
needs (`python -m benchmarks depthwise` prints the ratio), so on CPU it is written as
nine shifted multiply-adds. Every other platform gets the plain convolution.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Image = Float[Array, "b f w c"]
Kernel = Float[Array, "3 3 1 c"]


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


def _shifts(x: Image):
    """The nine views of `x` that the taps of a 3x3 kernel see, in kernel order."""
    frames, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [
        padded[:, i : i + frames, j : j + width] for i in range(3) for j in range(3)
    ]


@jax.custom_vjp
def shifted_depthwise(x: Image, kernel: Kernel) -> Image:
    """The same function as nine shifted multiply-adds, with a gradient to match."""
    taps = kernel.reshape(9, 1, 1, 1, -1)
    return sum(view * tap for view, tap in zip(_shifts(x), taps, strict=True))


def _forward(x, kernel):
    return shifted_depthwise(x, kernel), (x, kernel)


def _backward(residuals, grad):
    x, kernel = residuals
    # The gradient of a correlation: to its input, correlation with the kernel turned
    # by 180 degrees; to its kernel, each tap's view of the input times the gradient.
    to_x = shifted_depthwise(grad, kernel[::-1, ::-1])
    to_kernel = jnp.stack([(view * grad).sum((0, 1, 2)) for view in _shifts(x)])
    return to_x, to_kernel.reshape(kernel.shape).astype(kernel.dtype)


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
    return lax.platform_dependent(
        x, kernel, cpu=shifted_depthwise, default=plain_depthwise
    )
