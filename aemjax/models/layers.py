"""The pieces that front ends, backbones and heads are built from.

Valid frames travel beside activations as an int array `b` (None: every frame is
valid). Whatever lies past them is zeroed after each ReLU, and zero is what a
convolution reads in its own padding: so a clip scores the same alone and in a padded
batch.

"conv" and "block" name activations for `aemjax.train.remat.POLICIES`.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from aemjax.models import ops
from aemjax.models.numerics import FLOAT, Rounding, rounding_kernels

Valid = Int[Array, "b"] | None

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.9


def frame_mask(valid: Int[Array, "b"], x: Array) -> Bool[Array, "b f *ones"]:
    """True at the valid frames (axis 1) of `x`, with axes of size 1 after them."""
    mask = jnp.arange(x.shape[1])[None, :] < valid[:, None]
    return mask.reshape(mask.shape + (1,) * (x.ndim - 2))


def zero_invalid(x: Array, valid: Valid) -> Array:
    """Zeroes what lies past the valid frames (axis 1)."""
    return x if valid is None else jnp.where(frame_mask(valid, x), x, 0)


def strided(valid: Valid, stride: int) -> Valid:
    """Valid frames left by a convolution or ceil-mode pool of this stride."""
    return None if valid is None else -(-valid // stride)


def conv_bn(
    x: Array,
    valid: Valid,
    features: int,
    kernel: tuple[int, ...],
    *,
    conv: str,
    bn: str,
    train: bool,
    strides: tuple[int, ...] | None = None,
    depthwise: bool = False,
    relu: bool = True,
    dtype: DTypeLike = jnp.float32,
    numerics: str = FLOAT,
) -> tuple[Array, Valid]:
    """Convolution without bias -> BatchNorm -> ReLU; call it inside `nn.compact`.

    In `numerics` other than "float" the convolution has a bias, and there is no BatchNorm.

    Args:
      x: `b f ... c`; as many axes between `b` and `c` as `kernel` has entries.
      valid: valid frames of `x`.
      features: output channels; with `depthwise`, those of `x`.
      kernel: its size per axis, time first.
      conv: parameter name of the convolution, in the calling module.
      bn: that of the BatchNorm.
      train: batch statistics (of valid frames alone) instead of running ones.
      numerics: of `aemjax.models.numerics`.

    Returns:
      The activations, zero past their valid frames if `relu`, and those frames.
    """
    if depthwise:
        convolve = ops.depthwise_conv
    elif set(kernel) == {1} and strides is None:
        convolve = ops.pointwise_conv
    elif x.shape[-1] == 1:
        convolve = ops.one_channel_conv
    else:
        convolve = lax.conv_general_dilated
    folded = numerics != FLOAT
    x = nn.Conv(
        features,
        kernel,
        strides=strides,
        padding=[((k - 1) // 2, k // 2) for k in kernel],
        feature_group_count=features if depthwise else 1,
        conv_general_dilated=rounding_kernels(numerics, convolve),
        use_bias=folded,
        kernel_init=nn.initializers.he_normal(),
        dtype=dtype,
        name=conv,
    )(x)
    x = checkpoint_name(x, "conv")
    valid = strided(valid, strides[0] if strides else 1)
    if not folded:
        x = nn.BatchNorm(
            use_running_average=not train,
            momentum=BATCH_NORM_MOMENTUM,
            epsilon=BATCH_NORM_EPSILON,
            dtype=dtype,
            name=bn,
        )(x, mask=None if valid is None else frame_mask(valid, x))
    if relu:
        x = zero_invalid(nn.relu(x), valid)
    return Rounding(numerics, signed=not relu, name=f"{conv}_out")(
        x, train=train
    ), valid


def dense(
    x: Float[Array, "*b c"],
    features: int,
    *,
    name: str,
    train: bool,
    numerics: str = FLOAT,
    signed: bool = True,
) -> Float[Array, "*b d"]:
    """A dense layer with a bias, in float32; call it inside `nn.compact`.

    Args:
      name: parameter name, in the calling module.
      numerics: of `aemjax.models.numerics`.
      signed: whether `x` may be negative.
    """
    x = Rounding(numerics, signed=signed, name=f"{name}_in")(x, train=train)
    product = rounding_kernels(numerics, lax.dot_general)
    x = nn.Dense(features, dot_general=product, name=name)(x)
    return Rounding(numerics, signed=True, name=f"{name}_out")(x, train=train)


def at_least_float32(x: Array) -> Array:
    """Statistics, embeddings and losses are never computed in less."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def mean_over_valid(x: Float[Array, "b f w c"], valid: Valid) -> Float[Array, "b c"]:
    """Global average pool over valid frames and every row `w`, in float32 at least."""
    rows = at_least_float32(x).mean(axis=2)  # b f c
    if valid is None:
        return rows.mean(axis=1)
    return zero_invalid(rows, valid).sum(axis=1) / valid[:, None]
