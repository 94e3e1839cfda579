"""A backbone that compiles in a second, for tests of what is around the model."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from aemjax.models.layers import conv_bn
from aemjax.models.numerics import FLOAT


class Backbone(nn.Module):
    """One strided convolution."""

    width: float
    dtype: DTypeLike = jnp.float32
    numerics: str = FLOAT

    @nn.compact
    def __call__(self, image, valid=None, *, train):
        return conv_bn(
            image,
            valid,
            int(64 * self.width),
            (3, 3),
            strides=(4, 4),
            conv="conv3",
            bn="bn3",
            train=train,
            dtype=self.dtype,
            numerics=self.numerics,
        )
