"""The filters that a learned front end begins with."""

import numpy as np
from jaxtyping import Float

from aemjax.audio.read import SAMPLE_RATE

BINS = 256  # of 0 Hz to half the sample rate, both ends included one more


def responses(
    kernel: Float[np.ndarray, "taps 1 c"],
) -> tuple[Float[np.ndarray, "f"], Float[np.ndarray, "c f"]]:
    """(frequencies in Hz, magnitudes in dB of each filter's peak), peaks ascending.

    A filter's centre frequency is where its magnitude is highest; one of zeros is at
    -inf dB. What the BatchNorm behind it scales is left out.
    """
    size = max(2 * BINS, len(kernel))
    magnitude = np.abs(np.fft.rfft(kernel[:, 0, :].T.astype(float), size))  # c f
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    order = np.argsort(magnitude.argmax(axis=1), kind="stable")
    peak = magnitude.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        decibels = 20 * np.log10(magnitude / np.where(peak > 0, peak, 1))
    return frequencies, decibels[order]
