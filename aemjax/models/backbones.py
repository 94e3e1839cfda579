"""Backbones (HLF): the front end's `b f c`, read as a one-channel image -> feature map.

A backbone is a module whose `__call__(image "b f w 1", valid, *, train)` returns
(map "b f' w' c", valid frames) and whose required fields are `width` and `dtype`. `valid`
counts the valid frames of each clip, or is None where all are, and then the returned ones
are None too. Its map is averaged to the pooled vector; unless the class says
`embeds_by_pooling`, a dense layer makes the 512-d embedding of that. With a property
`stages`, {name: names of its children}, and a field `frozen`, names among them, it can be
frozen in part.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from aemjax.models import ops
from aemjax.models.layers import Valid, conv_bn, strided, zero_invalid
from aemjax.models.numerics import FLOAT, Rounding

Image = Float[Array, "b f w c"]
Map = Float[Array, "b _f _w d"]

# conv3..conv11 of SPEC 2.3 before scaling; a pool follows each group.
VGG_GROUPS = ((32,), (64, 64), (128, 128), (256, 256), (512, 512))

# Channels and first stride of the eight basic blocks of ResNet-18.
RESNET18_BLOCKS = (
    (64, 1),
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
)


def scaled(channels: int, width: float) -> int:
    """`channels * width`.

    Raises:
      ValueError: if that is not a whole positive number.
    """
    result = channels * width
    if result < 1 or result != int(result):
        raise ValueError(
            f"width {width} makes {channels} channels {result}; choose a multiple of "
            "1/32"
        )
    return int(result)


def pool_ceil(x: Image, valid: Valid) -> tuple[Map, Valid]:
    """2x2 max-pool with stride 2; keeps an incomplete last window, on both axes."""
    # Of a symbolic length one is right too: of an even one that row is in no window.
    padding = [(0, n % 2 if isinstance(n, int) else 1) for n in x.shape[1:3]]
    x = ops.max_pool(x, (2, 2), (2, 2), tuple(padding))
    return x, strided(valid, 2)


class VGG(nn.Module):
    """The VGG-like backbone of AemNet (AclNet, arXiv 1811.06669, section 2).

    Attributes:
      width: scales conv3..conv10; conv11 always has 512 channels.
      separable: each convolution becomes depthwise 3x3 + BN + ReLU, then pointwise
        1x1 + BN + ReLU (AemNet-DW; Galindo-Meza 2021, 4.3.2); `width` then scales
        conv11 too.
      dtype: compute type.
      frozen: stages whose BatchNorm keeps to its running statistics.
      numerics: of `aemjax.models.numerics`.
    """

    width: float = 1.0
    separable: bool = False
    dtype: DTypeLike = jnp.float32
    frozen: tuple[str, ...] = ()
    numerics: str = FLOAT

    @property
    def embeds_by_pooling(self) -> bool:
        return not self.separable

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """What lies between two pools."""
        found, number = {}, 3
        for stage, group in enumerate(VGG_GROUPS, start=1):
            numbers = range(number, number + len(group))
            kinds = ("conv",) if self.separable else ("conv", "bn")
            found[f"stage{stage}"] = tuple(f"{k}{n}" for n in numbers for k in kinds)
            number += len(group)
        return found

    @nn.compact
    def __call__(
        self, x: Image, valid: Valid = None, *, train: bool
    ) -> tuple[Map, Valid]:
        number = 3
        for stage, group in enumerate(VGG_GROUPS, start=1):
            training = train and f"stage{stage}" not in self.frozen
            for channels in group:
                last = number == 11 and not self.separable
                channels = channels if last else scaled(channels, self.width)
                unit = self._separable if self.separable else self._full
                x, valid = unit(x, valid, channels, number, training)
                number += 1
            x, valid = pool_ceil(x, valid)
            x = checkpoint_name(x, "block")
        return x, valid

    def _full(self, x, valid, channels, number, train):
        return conv_bn(
            x,
            valid,
            channels,
            (3, 3),
            conv=f"conv{number}",
            bn=f"bn{number}",
            train=train,
            dtype=self.dtype,
            numerics=self.numerics,
        )

    def _separable(self, x, valid, channels, number, train):
        unit = SeparableConv(
            channels,
            dtype=self.dtype,
            numerics=self.numerics,
            name=f"conv{number}",
        )
        return unit(x, valid, train=train)


class SeparableConv(nn.Module):
    """Depthwise 3x3 + BN + ReLU -> pointwise 1x1 + BN + ReLU."""

    features: int
    dtype: DTypeLike = jnp.float32
    numerics: str = FLOAT

    @nn.compact
    def __call__(self, x: Image, valid: Valid, *, train: bool) -> tuple[Map, Valid]:
        common = {"train": train, "dtype": self.dtype, "numerics": self.numerics}
        x, valid = conv_bn(
            x,
            valid,
            x.shape[-1],
            (3, 3),
            depthwise=True,
            conv="depthwise",
            bn="depthwise_bn",
            **common,
        )
        return conv_bn(
            x,
            valid,
            self.features,
            (1, 1),
            conv="pointwise",
            bn="pointwise_bn",
            **common,
        )


class ResNet18(nn.Module):
    """The residual backbone of AemResNet (LA-CCI 2021, Table II).

    A 3x3 stem in place of ResNet's 7x7, then its 3x3/2 pool and eight basic blocks.

    Attributes:
      width: scales every convolution; the published network has 1.0.
      dtype: compute type.
      frozen: stages whose BatchNorm keeps to its running statistics.
      numerics: of `aemjax.models.numerics`.
    """

    width: float = 1.0
    dtype: DTypeLike = jnp.float32
    frozen: tuple[str, ...] = ()
    numerics: str = FLOAT

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """The stem, then the blocks of as many channels."""
        blocks = {
            f"stage{n}": (f"block{2 * n - 3}", f"block{2 * n - 2}") for n in range(2, 6)
        }
        return {"stage1": ("conv3", "bn3")} | blocks

    @nn.compact
    def __call__(
        self, x: Image, valid: Valid = None, *, train: bool
    ) -> tuple[Map, Valid]:
        x, valid = conv_bn(
            x,
            valid,
            scaled(64, self.width),
            (3, 3),
            conv="conv3",
            bn="bn3",
            train=train and "stage1" not in self.frozen,
            dtype=self.dtype,
            numerics=self.numerics,
        )
        x = ops.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        valid = strided(valid, 2)
        x = zero_invalid(x, valid)  # a window past the last frame may still see it
        for number, (channels, stride) in enumerate(RESNET18_BLOCKS, start=1):
            block = BasicBlock(
                scaled(channels, self.width),
                stride,
                dtype=self.dtype,
                numerics=self.numerics,
                name=f"block{number}",
            )
            stage = f"stage{(number + 3) // 2}"
            x, valid = block(x, valid, train=train and stage not in self.frozen)
            x = checkpoint_name(x, "block")
        return x, valid


class BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN + shortcut -> ReLU; a 1x1 projection where shapes differ."""

    features: int
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    numerics: str = FLOAT

    @nn.compact
    def __call__(self, x: Image, valid: Valid, *, train: bool) -> tuple[Map, Valid]:
        common = {"train": train, "dtype": self.dtype, "numerics": self.numerics}
        strides = (self.stride, self.stride)
        y, inner = conv_bn(
            x,
            valid,
            self.features,
            (3, 3),
            strides=strides,
            conv="conv1",
            bn="bn1",
            **common,
        )
        y, inner = conv_bn(
            y,
            inner,
            self.features,
            (3, 3),
            relu=False,
            conv="conv2",
            bn="bn2",
            **common,
        )
        if x.shape != y.shape:
            x, _ = conv_bn(
                x,
                valid,
                self.features,
                (1, 1),
                strides=strides,
                relu=False,
                conv="projection",
                bn="projection_bn",
                **common,
            )
        x = zero_invalid(nn.relu(x + y), inner)
        return Rounding(self.numerics, name="sum_out")(x, train=train), inner
