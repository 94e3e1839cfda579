"""Waveform augmentation on the device: gain, noise, mixup, in this order.

Galindo-Meza 2021, chapter 5.3. The random crop comes before, on the host; nothing is
standardised after, which would undo the gain.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from aemjax.audio.read import MIN_STD
from aemjax.random import stream_key

Audio = Float[Array, "b t"]
Labels = Float[Array, "b k"]


def standardize(
    pcm: Int[Array, "b t"], mean: Float[Array, "b"], std: Float[Array, "b"]
) -> Audio:
    """int16 samples -> float32 with the whole clip's mean 0 and deviation 1.

    Args:
      mean, std: those of the clip as floats in [-1, 1]; silence becomes zeros.
    """
    audio = pcm.astype(jnp.float32) / 32_768
    return (audio - mean[:, None]) / jnp.maximum(std, MIN_STD)[:, None]


def random_gain(key: PRNGKeyArray, audio: Audio, *, max_db: float) -> Audio:
    """Scales each clip by a level uniform in +-max_db decibels."""
    db = jax.random.uniform(key, (audio.shape[0], 1), minval=-max_db, maxval=max_db)
    return audio * 10 ** (db / 20)


def random_noise(
    key: PRNGKeyArray,
    audio: Audio,
    *,
    min_snr_db: float,
    max_snr_db: float,
    probability: float,
) -> Audio:
    """Adds white noise at a uniform signal-to-noise ratio, to a share of the clips."""
    snr_key, choice_key, noise_key = jax.random.split(key, 3)
    rows = (audio.shape[0], 1)
    snr_db = jax.random.uniform(snr_key, rows, minval=min_snr_db, maxval=max_snr_db)
    chosen = jax.random.bernoulli(choice_key, probability, rows)
    level = jnp.sqrt(jnp.mean(audio**2, axis=1, keepdims=True)) * 10 ** (-snr_db / 20)
    noise = jax.random.normal(noise_key, audio.shape, audio.dtype)
    return audio + jnp.where(chosen, level, 0) * noise


def mixup(
    key: PRNGKeyArray,
    audio: Audio,
    labels: Labels,
    *,
    alpha: float,
    active: bool | Array = True,
) -> tuple[Audio, Labels]:
    """Mixes rows 2i and 2i+1, waveforms and labels alike (Zhang et al., ICLR 2018).

    Rows are shuffled already, so neighbours are random partners, and no audio moves
    between devices. Each row draws its own share from Beta(alpha, alpha).

    Args:
      active: where False, everything is returned as it came.

    Raises:
      ValueError: if the number of rows is odd.
    """
    rows = audio.shape[0]
    if rows % 2:
        raise ValueError(f"mixup pairs rows; a batch of {rows} is odd")
    share = jax.random.beta(key, alpha, alpha, (rows, 1))
    share = jnp.where(active, share, 1.0)

    def mix(x):
        partner = x.reshape(rows // 2, 2, -1)[:, ::-1].reshape(x.shape)
        return share * x + (1 - share) * partner

    return mix(audio), mix(labels)


@dataclasses.dataclass(frozen=True)
class Augment:
    """SPEC 1's chain; a field of 0 (or `mixup_alpha` of 0) switches its part off.

    Attributes:
      gain_db: of `random_gain`.
      noise_probability, min_snr_db, max_snr_db: of `random_noise`.
      mixup_alpha: of `mixup`.
      mixup_start_step: the first step that mixes.
    """

    gain_db: float = 6.0
    noise_probability: float = 0.5
    min_snr_db: float = 10.0
    max_snr_db: float = 40.0
    mixup_alpha: float = 0.1
    mixup_start_step: int = 0

    def __call__(
        self, audio: Audio, labels: Labels, *, seed: int, step: Int[Array, ""]
    ) -> tuple[Audio, Labels]:
        """Draws from the streams "gain", "noise" and "mixup" at this step."""
        if self.gain_db:
            key = stream_key(seed, "gain", step)
            audio = random_gain(key, audio, max_db=self.gain_db)
        if self.noise_probability:
            audio = random_noise(
                stream_key(seed, "noise", step),
                audio,
                min_snr_db=self.min_snr_db,
                max_snr_db=self.max_snr_db,
                probability=self.noise_probability,
            )
        if self.mixup_alpha:
            audio, labels = mixup(
                stream_key(seed, "mixup", step),
                audio,
                labels,
                alpha=self.mixup_alpha,
                active=step >= self.mixup_start_step,
            )
        return audio, labels
