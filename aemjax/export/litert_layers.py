"""Layers in the forms of which LiteRT's converter makes single operations.

Its convolutions and pools have two axes. Those of one axis it writes between reshapes,
which keep it from folding BatchNorm, bias and ReLU into a convolution; a pool of one axis
has no integers at all. Nor does it fold BatchNorm into a matrix product, whose integers
fewer accelerators know than those of a convolution.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
from jax import lax
from jaxtyping import Array, Float

from aemjax.models import ops
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.models.frontends import LLF
from aemjax.models.layers import Valid, conv_bn


def with_two_axes(call: Callable, args: tuple, kwargs: dict, context) -> object:
    """For `nn.intercept_methods`: the same function as an LLF or pointwise convolution."""
    module = context.module
    if context.method_name != "__call__":
        return call(*args, **kwargs)
    if type(module) is LLF:
        wide = jax.tree.map(
            lambda x: x[:, None] if x.ndim == 3 else x, module.variables
        )
        return _like(module, WideLLF).apply(wide, *args, **kwargs)
    if type(module) is nn.Conv and module.conv_general_dilated is ops.pointwise_conv:
        plain = _like(module, nn.Conv, conv_general_dilated=lax.conv_general_dilated)
        return plain.apply(module.variables, *args, **kwargs)
    return call(*args, **kwargs)


def _like(module: nn.Module, kind: type[nn.Module], **other) -> nn.Module:
    fields = {x.name: getattr(module, x.name) for x in dataclasses.fields(module)}
    return kind(**fields | {"parent": None, "name": None} | other)


class WideLLF(LLF):
    """The LLF on audio "b t 1 1", with kernels "k 1 c d", for clips of one length."""

    @nn.compact
    def __call__(
        self, audio: Float[Array, "b t"], valid: Valid = None, *, train: bool
    ) -> tuple[Float[Array, "b f c"], Valid]:
        x = audio[:, :, None, None]
        layers = (
            (self.channels1, self.kernel1, self.stride1),
            (self.channels2, self.kernel2, self.stride2),
        )
        for number, (channels, kernel, stride) in enumerate(layers, start=1):
            x, _ = conv_bn(
                x,
                None,
                channels,
                (kernel, 1),
                strides=(stride, 1),
                conv=f"conv{number}",
                bn=f"bn{number}",
                train=train,
                dtype=self.dtype,
                numerics=self.numerics,
            )
        pool = FRAME_SAMPLES // (self.stride1 * self.stride2)
        x = ops.max_pool(x, (pool, 1), (pool, 1), padding=((0, 0), (0, 0)))
        return x[:, :, 0], valid
