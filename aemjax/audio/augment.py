"""Augmentation on the device: roll, polarity, gain, noise, mixup, in this order.

Gain, noise and mixup are the published chain (Galindo-Meza 2021, chapter 5.3), the
others are off unless asked for. The random crop comes before, on the host; nothing is
standardised after, which would undo the gain. Masks act later, on the front end's output.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray

from aemjax.audio.read import MIN_STD, SAMPLE_RATE
from aemjax.random import stream_key

Audio = Float[Array, "b t"]
Features = Float[Array, "b f c"]
TRIES = 32  # of a draw from the Beta distribution
Targets = Any  # a tree of arrays whose first axis is `b`


def standardize(
    pcm: Int[Array, "b t"], mean: Float[Array, "b"], std: Float[Array, "b"]
) -> Audio:
    """int16 samples -> float32 with the whole clip's mean 0 and deviation 1.

    Args:
      mean, std: those of the clip as floats in [-1, 1]; silence becomes zeros.
    """
    audio = pcm.astype(jnp.float32) / 32_768
    return (audio - mean[:, None]) / jnp.maximum(std, MIN_STD)[:, None]


def random_roll(key: PRNGKeyArray, audio: Audio, *, max_samples: int) -> Audio:
    """Shifts each clip in time by up to +-max_samples; the end comes in at the start."""
    rows, samples = audio.shape
    shift = jax.random.randint(key, (rows, 1), -max_samples, max_samples + 1)
    source = (jnp.arange(samples)[None] - shift) % samples
    return jnp.take_along_axis(audio, source, axis=1)


def random_polarity(key: PRNGKeyArray, audio: Audio, *, probability: float) -> Audio:
    """Turns a share of the clips upside down."""
    flipped = jax.random.bernoulli(key, probability, (audio.shape[0], 1))
    return jnp.where(flipped, -audio, audio)


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
    targets: Targets,
    *,
    alpha: float,
    active: bool | Array = True,
) -> tuple[Audio, Targets]:
    """Mixes rows 2i and 2i+1, waveforms and targets alike (Zhang et al., ICLR 2018).

    Rows are shuffled already, so neighbours are random partners, and no audio moves
    between devices. Each row draws its own share from Beta(alpha, alpha).

    Args:
      targets: a tree of arrays with a row for each clip, such as labels "b k".
      alpha: above 0, at most 1.
      active: where False, everything is returned as it came.

    Raises:
      ValueError: if the number of rows is odd, or on another alpha.
    """
    rows = audio.shape[0]
    if rows % 2:
        raise ValueError(f"mixup pairs rows; a batch of {rows} is odd")
    share = random_share(key, rows, alpha=alpha)
    share = jnp.where(active, share, 1.0)

    def mix(x):
        partner = x.reshape(rows // 2, 2, -1)[:, ::-1].reshape(x.shape)
        own = share.reshape((rows,) + (1,) * (x.ndim - 1))
        return own * x + (1 - own) * partner

    return mix(audio), jax.tree.map(mix, targets)


def check_alpha(alpha: int | float) -> None:
    """Refuses what `random_share` cannot draw by.

    Raises:
      ValueError: on an alpha that is not above 0 and at most 1.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"mixup_alpha is {alpha}, expected above 0 and at most 1")


def random_share(
    key: PRNGKeyArray, rows: int, *, alpha: int | float
) -> Float[Array, "b"]:
    """Draws from Beta(alpha, alpha), by Joehnk's method (Metrika 8, 1964).

    X = U^(1/alpha) and Y likewise; X / (X + Y) of the first try with X + Y <= 1. Where
    alpha is at most 1, half of the tries do or more, so that a fixed number is enough
    but for one clip in 4e9. `jax.random.beta` tries for as long as it must: over several
    devices each try waits for all of them.

    Raises:
      ValueError: on an alpha that is not above 0 and at most 1.
    """
    check_alpha(alpha)
    draws = jax.random.uniform(key, (2, TRIES, rows), minval=1e-30)
    log_x, log_y = jnp.log(draws) / alpha
    chosen = jnp.argmax(jnp.logaddexp(log_x, log_y) <= 0, axis=0)[None]
    share = jax.nn.sigmoid(log_x - log_y)
    return jnp.take_along_axis(share, chosen, axis=0)[0]


def mask_features(
    key: PRNGKeyArray,
    features: Features,
    *,
    time_masks: int,
    max_frames: int,
    channel_masks: int,
    max_channels: int,
) -> Features:
    """Zeroes stretches of time and bands of channels (SpecAugment, Interspeech 2019).

    Each clip draws its own, as Park et al. do, section 2: a width uniform in 0 to the
    largest, then a place for it. Zero is what a rectified front end makes of silence.

    Args:
      time_masks, channel_masks: how many of each kind.
      max_frames, max_channels: their largest widths.
    """
    time_key, channel_key = jax.random.split(key)
    rows, frames, channels = features.shape
    keep = _keep(time_key, rows, frames, time_masks, max_frames)[:, :, None]
    keep &= _keep(channel_key, rows, channels, channel_masks, max_channels)[:, None]
    return jnp.where(keep, features, 0)


def _keep(key, rows: int, size: int, masks: int, widest: int) -> Array:
    """False "b size" where one of the masks lies."""
    width_key, start_key = jax.random.split(key)
    widest = min(widest, size)
    width = jax.random.randint(width_key, (rows, masks, 1), 0, widest + 1)
    start = jax.random.randint(start_key, (rows, masks, 1), 0, size - width + 1)
    place = jnp.arange(size)[None, None]
    return ~((start <= place) & (place < start + width)).any(axis=1)


@dataclasses.dataclass(frozen=True)
class Augment:
    """The chain; a field of 0 switches its part off.

    Attributes:
      max_roll_s: of `random_roll`, in seconds.
      polarity_probability: of `random_polarity`.
      gain_db: of `random_gain`.
      noise_probability, min_snr_db, max_snr_db: of `random_noise`.
      mixup_alpha: of `mixup`.
      mixup_start_step: the first step that mixes.
      time_masks, time_mask_frames, channel_masks, channel_mask_channels: of
        `mask_features`.

    Raises:
      ValueError: on a number that is negative, a probability above 1, ratios that are
        not in order, or masks without a width.
    """

    max_roll_s: int | float = 0.0
    polarity_probability: int | float = 0.0
    gain_db: int | float = 6.0
    noise_probability: int | float = 0.5
    min_snr_db: int | float = 10.0
    max_snr_db: int | float = 40.0
    mixup_alpha: int | float = 0.1
    mixup_start_step: int = 0
    time_masks: int = 0
    time_mask_frames: int = 0
    channel_masks: int = 0
    channel_mask_channels: int = 0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if name in ("min_snr_db", "max_snr_db"):
                continue
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}, expected 0 or more")
            if name.endswith("probability") and value > 1:
                raise ValueError(f"{name} is {value}, expected at most 1")
        for count, width in (
            ("time_masks", "time_mask_frames"),
            ("channel_masks", "channel_mask_channels"),
        ):
            if (masks := getattr(self, count)) and not getattr(self, width):
                raise ValueError(
                    f"{count} is {masks}, but {width} is 0: nothing would be masked; "
                    "say how wide they may be"
                )
        if not self.min_snr_db <= self.max_snr_db:
            raise ValueError(
                f"min_snr_db is {self.min_snr_db}, expected at most max_snr_db, "
                f"{self.max_snr_db}"
            )
        if self.mixup_alpha:
            check_alpha(self.mixup_alpha)

    def __call__(
        self,
        audio: Audio,
        targets: Targets,
        *,
        seed: int | Integer[Array, ""],
        step: Int[Array, ""],
    ) -> tuple[Audio, Targets]:
        """Draws from the streams "roll", "polarity", "gain", "noise", "mixup"."""
        if self.max_roll_s:
            key = stream_key(seed, "roll", step)
            max_samples = round(self.max_roll_s * SAMPLE_RATE)
            audio = random_roll(key, audio, max_samples=max_samples)
        if self.polarity_probability:
            key = stream_key(seed, "polarity", step)
            audio = random_polarity(key, audio, probability=self.polarity_probability)
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
            audio, targets = mixup(
                stream_key(seed, "mixup", step),
                audio,
                targets,
                alpha=self.mixup_alpha,
                active=step >= self.mixup_start_step,
            )
        return audio, targets

    def masks(self, key: PRNGKeyArray) -> Callable[[Features], Features] | None:
        """What to do to the front end's output; None where there are no masks."""
        if not (self.time_masks or self.channel_masks):
            return None
        return lambda features: mask_features(
            key,
            features,
            time_masks=self.time_masks,
            max_frames=self.time_mask_frames,
            channel_masks=self.channel_masks,
            max_channels=self.channel_mask_channels,
        )
