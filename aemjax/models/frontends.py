"""Front ends: waveform -> `b f c`, 100 frames per second.

A front end is a module whose `__call__(audio "b t", valid, *, train)` returns
(features "b f c", valid frames), where `valid` counts the valid samples of each clip, or
is None where all are, and the valid frames then too; features past them are 0. Its only
required field is `dtype`. One that multiplies by constant matrices may say so to
`summarize` by a property `matrix_macs`, multiply-accumulates per frame by name.
"""

import functools
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from aemjax.models import ops
from aemjax.models.frames import FRAME_SAMPLES, check_holds_a_frame
from aemjax.models.layers import Valid, conv_bn, zero_invalid
from aemjax.models.numerics import FLOAT, Rounding
from aemjax.models.spectral import SPECTRAL_PRESETS

# (K1, S1, K2, S2): SPEC 2.1's presets.
LLF_PRESETS = {
    "llf1": (33, 16, 5, 2),
    "llf2": (9, 4, 5, 4),
    "llf-fast": (33, 16, 10, 2),
}


class LLF(nn.Module):
    """Two strided 1-D convolutions, then a max-pool to one frame per 10 ms.

    AclNet (arXiv 1811.06669), section 2, and Galindo-Meza 2021, chapter 4.6.

    Attributes:
      kernel1, stride1: of the filter bank, in samples.
      kernel2, stride2: of the second convolution, in outputs of the first.
      channels1, channels2: output channels.
      dtype: compute type; parameters and statistics are float32.
      numerics: of `aemjax.models.numerics`.
    """

    kernel1: int = 33
    stride1: int = 16
    kernel2: int = 5
    stride2: int = 2
    channels1: int = 64
    channels2: int = 128
    dtype: DTypeLike = jnp.float32
    numerics: str = FLOAT

    @nn.compact
    def __call__(
        self, audio: Float[Array, "b t"], valid: Valid = None, *, train: bool
    ) -> tuple[Float[Array, "b f c"], Valid]:
        """Filters and pools.

        Raises:
          ValueError: if stride1 * stride2 does not divide a frame, or the audio is
            shorter than one.
        """
        stride = self.stride1 * self.stride2
        if FRAME_SAMPLES % stride:
            raise ValueError(
                f"stride1 * stride2 = {self.stride1} * {self.stride2} = {stride} does "
                f"not divide the {FRAME_SAMPLES} samples of a 10 ms frame; choose "
                "strides whose product does"
            )
        check_holds_a_frame(audio)
        common = {"train": train, "dtype": self.dtype, "numerics": self.numerics}
        x = zero_invalid(audio.reshape(*audio.shape, 1), valid)  # b t 1
        x = Rounding(self.numerics, signed=True, name="conv1_in")(x, train=train)
        x, valid = conv_bn(
            x,
            valid,
            self.channels1,
            (self.kernel1,),
            strides=(self.stride1,),
            conv="conv1",
            bn="bn1",
            **common,
        )
        x, valid = conv_bn(
            x,
            valid,
            self.channels2,
            (self.kernel2,),
            strides=(self.stride2,),
            conv="conv2",
            bn="bn2",
            **common,
        )
        pool = FRAME_SAMPLES // stride
        # An incomplete last frame is dropped: 1 s is exactly 100 frames.
        x = ops.max_pool(x, (pool,), (pool,), padding=((0, 0),))
        valid = None if valid is None else valid // pool
        return zero_invalid(x, valid), valid


def by_name(spec: str) -> functools.partial:
    """What builds the front end of that name, or the LLF of those four numbers.

    Raises:
      ValueError: as `llf_sizes`.
    """
    if spec in SPECTRAL_PRESETS:
        return SPECTRAL_PRESETS[spec]
    return functools.partial(LLF, **llf_sizes(spec))


def llf_sizes(spec: str) -> dict[str, int]:
    """The LLF's fields for a preset's name or for "K1,S1,K2,S2".

    Raises:
      ValueError: on an unknown name or a malformed list.
    """
    if spec in LLF_PRESETS:
        sizes = LLF_PRESETS[spec]
    else:
        try:
            sizes = tuple(int(number) for number in spec.split(","))
        except ValueError:
            sizes = ()
        if len(sizes) != 4 or min(sizes) < 1:
            raise ValueError(
                f"unknown front end {spec!r}; known: {sorted(LLF_PRESETS)}, four "
                f"numbers 'K1,S1,K2,S2', {sorted(SPECTRAL_PRESETS)}, or "
                "'package.module:Class'"
            )
    names = ("kernel1", "stride1", "kernel2", "stride2")
    return dict(zip(names, sizes, strict=True))


def first_kernel(params: Mapping) -> Float[np.ndarray, "taps 1 c"] | None:
    """The LLF's first convolution; None of a front end without one, such as log-mel."""
    kernel = params.get("frontend", {}).get("conv1", {}).get("kernel")
    if kernel is None or np.ndim(kernel) != 3 or np.shape(kernel)[1] != 1:
        return None
    return np.asarray(kernel, np.float32)
