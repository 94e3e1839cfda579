"""Spectra as pure functions: pre-emphasis, frames, power, mel bands, cepstra.

Galindo-Meza 2021, chapter 3.2. Matrices are NumPy constants of float64, and products
with them are taken in the full precision of what they multiply: a TPU's or GPU's faster
default would drown quiet bands in the rounding of loud ones.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from aemjax.audio.read import SAMPLE_RATE

Audio = Float[Array, "b t"]
Features = Float[Array, "b f c"]


def pre_emphasis(audio: Audio, coefficient: float) -> Audio:
    """y[t] = x[t] - coefficient * x[t - 1], with silence before the clip."""
    before = jnp.pad(audio[:, :-1], ((0, 0), (1, 0)))
    return audio - coefficient * before


def frames(
    audio: Audio, *, window_samples: int, hop_samples: int
) -> Float[Array, "b f n"]:
    """Cuts overlapping frames, one per hop; an incomplete last hop makes none.

    Frame i is centred on the middle of hop i, and reads silence before the clip and
    after its end: what a frame holds does not depend on the length of the clip.

    Raises:
      ValueError: if the window is shorter than the hop.
    """
    if window_samples < hop_samples:
        raise ValueError(
            f"window_samples {window_samples} is less than the hop of {hop_samples}: "
            "samples would be skipped; choose a window of at least one hop"
        )
    count = audio.shape[1] // hop_samples
    before = (window_samples - hop_samples) // 2
    # Whole hops side by side, not a gather: it partitions over `b` without collectives.
    per_frame = -(-window_samples // hop_samples)
    hops = count + per_frame - 1
    audio = audio[:, : hops * hop_samples - before]
    after = hops * hop_samples - before - audio.shape[1]
    audio = jnp.pad(audio, ((0, 0), (before, after)))
    x = audio.reshape(audio.shape[0], hops, hop_samples)
    x = jnp.concatenate([x[:, i : i + count] for i in range(per_frame)], axis=-1)
    return x[..., :window_samples]


def power_spectrum(
    frames: Float[Array, "b f n"], *, n_fft: int
) -> Float[Array, "b f k"]:
    """`|FFT|^2 / N` of each frame under a Hamming window, at bins 0 ... N / 2.

    Products with the DFT's matrices: XLA gathers a batch that is split over devices to
    run an FFT (openxla/xla issue 24). The phase counts from the middle of the frame,
    about which the window is symmetric: cosines then read only the even part of a
    frame and sines the odd part, half as many samples each.

    Raises:
      ValueError: if a frame has more than n_fft samples.
    """
    n = frames.shape[-1]
    if n > n_fft:
        raise ValueError(
            f"a frame of {n} samples does not fit n_fft {n_fft}; choose a larger n_fft"
        )
    cosines, sines = half_dft(n, n_fft)
    front = frames[..., : len(cosines)]
    back = frames[..., ::-1][..., : len(cosines)]
    real, imaginary = times(front + back, cosines), times(front - back, sines)
    return (real**2 + imaginary**2) / n_fft


@functools.cache
def half_dft(
    n: int, n_fft: int
) -> tuple[Float[np.ndarray, "h k"], Float[np.ndarray, "h k"]]:
    """Cosines and sines under the first half of a Hamming window of n samples."""
    half = (n + 1) // 2
    window = np.hamming(n)[:half]
    if n % 2:
        window[-1] /= 2  # the sample in the middle is its own mirror image
    # In half samples from the middle. The remainder is exact, a large angle is not.
    offsets = 2 * np.arange(half) - (n - 1)
    turns = np.outer(offsets, np.arange(n_fft // 2 + 1)) % (2 * n_fft) / (2 * n_fft)
    waves = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    return tuple(window[:, None] * wave for wave in waves)


def mel(hz):
    """m = 2595 log10(1 + f / 700)."""
    return 2595 * np.log10(1 + np.asarray(hz) / 700)


def hertz(mels):
    """The inverse of `mel`."""
    return 700 * (10 ** (np.asarray(mels) / 2595) - 1)


@functools.cache
def mel_filters(
    *, bands: int, n_fft: int, min_hz: float, max_hz: float
) -> Float[np.ndarray, "k c"]:
    """Triangles of height 1, spaced evenly in mel, from each centre to the next.

    Args:
      min_hz, max_hz: feet of the first and last triangle.

    Raises:
      ValueError: if the range is not within 0 ... 8000 Hz, or so many bands in it that
        one holds no bin of the FFT.
    """
    if not 0 <= min_hz < max_hz <= SAMPLE_RATE / 2:
        raise ValueError(
            f"mel bands from {min_hz} to {max_hz} Hz, expected "
            f"0 <= min_hz < max_hz <= {SAMPLE_RATE // 2}"
        )
    edges = hertz(np.linspace(mel(min_hz), mel(max_hz), bands + 2))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(n_fft // 2 + 1)[:, None] * SAMPLE_RATE / n_fft
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    filters = np.maximum(0, np.minimum(rising, falling))
    if empty := int((filters.max(axis=0, initial=0) == 0).sum()):
        raise ValueError(
            f"{empty} of {bands} mel bands from {min_hz} to {max_hz} Hz hold no bin of "
            f"a {n_fft}-point FFT; choose fewer bands or a larger n_fft"
        )
    return filters


def log_power(power: Features, *, floor: float) -> Features:
    """Natural logarithm of power, which is taken to be at least `floor`."""
    # Not `maximum`, whose gradient asks which argument equals the result: recomputed
    # with another rounding inside a fusion, neither does, and the gradient is lost.
    return jnp.log(jnp.where(power < floor, floor, power))


@functools.cache
def dct(bands: int, coefficients: int) -> Float[np.ndarray, "c d"]:
    """The first columns of the orthonormal DCT-II, one per coefficient, 0 included.

    Raises:
      ValueError: if there are more coefficients than bands.
    """
    if not 1 <= coefficients <= bands:
        raise ValueError(
            f"{coefficients} coefficients of {bands} bands, expected 1 to {bands}"
        )
    order = np.arange(coefficients)
    waves = np.cos(np.pi * np.outer(np.arange(bands) + 0.5, order) / bands)
    return waves * np.sqrt(np.where(order == 0, 1, 2) / bands)


def lifter(cepstra: Features, length: int) -> Features:
    """Scales coefficient n by 1 + length / 2 * sin(pi * n / length).

    Args:
      length: past it the weights turn negative; 0: no liftering.
    """
    if length == 0:
        return cepstra
    order = np.arange(cepstra.shape[-1])
    weights = 1 + length / 2 * np.sin(np.pi * order / length)
    return cepstra * jnp.asarray(weights, cepstra.dtype)[None, None]


def mean_normalize(x: Features, mask: Bool[Array, "b f 1"] | None = None) -> Features:
    """Subtracts each coefficient's mean over the clip's frames where `mask` is True."""
    return x - jnp.mean(x, axis=1, keepdims=True, where=mask)


def times(x: Features, matrix: Float[np.ndarray, "c d"]) -> Float[Array, "b f d"]:
    """x @ matrix in the precision of `x`."""
    matrix = jnp.asarray(matrix, x.dtype)
    return jnp.matmul(x, matrix, precision=jax.lax.Precision.HIGHEST)
