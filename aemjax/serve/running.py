"""Mean and deviation of a stream, of which there is never a whole clip."""

import math

import numpy as np
from jaxtyping import Float32

from aemjax.audio.read import MAX_PEAK, MIN_STD
from aemjax.models.frames import FRAME_SAMPLES


class Given:
    """Standardises by a mean and deviation that are known."""

    def __init__(self, mean: float | int, std: float | int):
        """Takes those of the audio.

        Raises:
          ValueError: if one is no number that audio in [-1, 1] has, or the deviation not
            more than 0.
        """
        if not (abs(mean) <= MAX_PEAK and 0 < std <= MAX_PEAK):
            raise ValueError(
                f"mean {mean} and deviation {std}: expected finite numbers of audio in "
                f"[-1, 1], at most {MAX_PEAK:g}, the second one more than 0; divide those "
                "of 16-bit samples by 32768"
            )
        self._mean, self._std = mean, max(std, MIN_STD)

    def push(self, audio: Float32[np.ndarray, "n"]) -> Float32[np.ndarray, "n"]:
        return ((audio - self._mean) / self._std).astype(np.float32)

    def close(self) -> Float32[np.ndarray, "n"]:
        return np.zeros(0, np.float32)


class Running:
    """Standardises each 10 ms by all that was heard up to their end.

    What was heard `memory_s` before counts 1/e as much; with infinity, everything
    counts the same.
    """

    def __init__(self, memory_s: float | int, *, sample_rate: int):
        """Begins a stream.

        Raises:
          ValueError: if the memory is not more than 0.
        """
        if not memory_s > 0:
            raise ValueError(
                f"a memory of {memory_s} s, expected more than 0 (infinity: everything)"
            )
        self._memory_samples = memory_s * sample_rate
        self._sums = np.zeros(3)  # of the weights, of samples and of their squares
        self._rest = np.zeros(0, np.float32)

    def push(self, audio: Float32[np.ndarray, "n"]) -> Float32[np.ndarray, "m"]:
        """The samples of whole 10 ms, standardised; the others wait."""
        audio = np.concatenate([self._rest, audio])
        whole = len(audio) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = audio[whole:]
        frames = audio[:whole].reshape(-1, FRAME_SAMPLES)
        return np.concatenate([np.zeros(0, np.float32), *map(self._frame, frames)])

    def close(self) -> Float32[np.ndarray, "m"]:
        """The samples that waited."""
        return self._frame(self._rest) if len(self._rest) else self._rest

    def _frame(self, audio: Float32[np.ndarray, "n"]) -> Float32[np.ndarray, "n"]:
        values = audio.astype(np.float64)
        self._sums *= math.exp(-len(audio) / self._memory_samples)
        self._sums += len(audio), values.sum(), np.square(values).sum()
        mean, power = self._sums[1:] / self._sums[0]
        std = max(math.sqrt(max(power - mean**2, 0)), MIN_STD)
        return ((values - mean) / std).astype(np.float32)
