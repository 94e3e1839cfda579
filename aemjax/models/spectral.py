"""Spectral front ends, to stand beside the learnt one: log-mel bands and MFCC.

Galindo-Meza 2021, chapter 3.2. Frame i is centred on the middle of the 10 ms that the
LLF's frame i pools, samples 160 i ... 160 i + 159, so that the backbone sees the same
image in time. A BatchNorm per band or coefficient brings it to the scale that the
backbone expects, as the first layer of PANNs (arXiv 1912.10211) does.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from aemjax.audio import spectrum
from aemjax.models.frames import FRAME_SAMPLES, check_holds_a_frame
from aemjax.models.layers import (
    BATCH_NORM_EPSILON,
    BATCH_NORM_MOMENTUM,
    Valid,
    frame_mask,
    zero_invalid,
)


class LogMel(nn.Module):
    """Pre-emphasis, Hamming window, power spectrum, mel bands, logarithm, BatchNorm.

    Everything is computed in float32 at least: bfloat16 would lose a quiet band beside
    a loud one, and the logarithm shows it.

    Attributes:
      bands: mel bands.
      window_samples: of the Hamming window; one frame is made every 160 samples.
      n_fft: points of the FFT; 512 would leave one of 128 bands without a bin, and give
        several low ones the same bin.
      min_hz, max_hz: feet of the first and last band.
      pre_emphasis: coefficient; 0: none.
      floor: least power of a band. 1e-7 is 65 dB below a bin of white noise as loud as
        the clip (deviation 1); below it, float32's rounding of a loud tone would show.
      dtype: type of the output; parameters and statistics are float32.
    """

    bands: int = 128
    window_samples: int = 400
    n_fft: int = 1024
    min_hz: float = 0.0
    max_hz: float = 8000.0
    pre_emphasis: float = 0.97
    floor: float = 1e-7
    dtype: DTypeLike = jnp.float32

    @property
    def matrix_macs(self) -> dict[str, int]:
        """Multiply-accumulates per frame of the products with constant matrices.

        All entries of a matrix count, the zeros of the mel filters too.
        """
        half, bins = (self.window_samples + 1) // 2, self.n_fft // 2 + 1
        return {"dft": 2 * half * bins, "mel": bins * self.bands}

    @nn.compact
    def __call__(
        self, audio: Float[Array, "b t"], valid: Valid = None, *, train: bool
    ) -> tuple[Float[Array, "b f c"], Valid]:
        """Features of each 10 ms, an incomplete last one dropped; 0 is their mean.

        Raises:
          ValueError: on sizes that do not fit each other, or audio shorter than a frame.
        """
        check_holds_a_frame(audio)
        audio = audio.astype(jnp.promote_types(self.dtype, jnp.float32))
        audio = spectrum.pre_emphasis(audio, self.pre_emphasis)
        # Not before: the filter would carry the last sample past the end.
        audio = zero_invalid(audio, valid)
        valid = None if valid is None else valid // FRAME_SAMPLES
        # Where `aemjax.train.remat` keeps outputs of convolutions, this is kept too.
        x = checkpoint_name(self.features(audio, valid), "conv")
        x = nn.BatchNorm(
            use_running_average=not train,
            momentum=BATCH_NORM_MOMENTUM,
            epsilon=BATCH_NORM_EPSILON,
            dtype=x.dtype,
            name="bn",
        )(x, mask=None if valid is None else frame_mask(valid, x))
        return zero_invalid(x, valid).astype(self.dtype), valid

    def features(self, audio: Float[Array, "b t"], valid: Valid) -> Array:
        """Before the BatchNorm: "b f c" of audio that is 0 past its valid frames."""
        x = spectrum.frames(
            audio, window_samples=self.window_samples, hop_samples=FRAME_SAMPLES
        )
        x = spectrum.power_spectrum(x, n_fft=self.n_fft)
        filters = spectrum.mel_filters(
            bands=self.bands,
            n_fft=self.n_fft,
            min_hz=self.min_hz,
            max_hz=self.max_hz,
        )
        return spectrum.log_power(spectrum.times(x, filters), floor=self.floor)


class MFCC(LogMel):
    """The cepstra of `LogMel`'s bands: DCT-II, liftering, mean normalisation.

    The mean is that of the clip's valid frames, so a clip of one frame is all zeros.

    Attributes:
      coefficients: the first ones, 0 included.
      lifter: length of the sinusoid; twice the coefficients makes the weights rise all
        along, about as the customary 22 does for 12. The BatchNorm takes them out again
        (but for their sign, which turns past this length).
    """

    coefficients: int = 128
    lifter: int = 256

    @property
    def matrix_macs(self) -> dict[str, int]:
        return super().matrix_macs | {"dct": self.bands * self.coefficients}

    def features(self, audio: Float[Array, "b t"], valid: Valid) -> Array:
        x = super().features(audio, valid)
        x = spectrum.times(x, spectrum.dct(self.bands, self.coefficients))
        x = spectrum.lifter(x, self.lifter)
        mask = None if valid is None else frame_mask(valid, x)
        return spectrum.mean_normalize(x, mask)


# On equal terms with the LLF, and the 40 bands of chapter 3.2.
SPECTRAL_PRESETS = {
    "log_mel": functools.partial(LogMel),
    "log_mel40": functools.partial(LogMel, bands=40, n_fft=512),
    "mfcc": functools.partial(MFCC),
    "mfcc40": functools.partial(MFCC, bands=40, n_fft=512, coefficients=40, lifter=80),
}
