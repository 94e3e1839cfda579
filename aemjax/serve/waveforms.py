"""What callers hand over as audio, checked and made float32."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from numpy.typing import ArrayLike

from aemjax.audio import read
from aemjax.models.frames import FRAME_SAMPLES

Waveform = Float32[np.ndarray, "_t"]
# One waveform, or several: rows of an array, or a list of whatever lengths.
Audio = ArrayLike | Sequence[ArrayLike]


def waveforms(
    audio: Audio,
    *,
    sample_rate: int,
    sampling_rate: int | float | None = None,
    resample: bool = False,
) -> tuple[list[Waveform], bool]:
    """(waveforms at `sample_rate`, whether it was one alone rather than a list).

    Args:
      audio: float in [-1, 1] or int16: an array "t", an array "n t", or a list of "t".
      sample_rate: Hz that the network takes.
      sampling_rate: Hz of the audio; None: the same.
      resample: whether audio of another rate is resampled, rather than refused.

    Raises:
      ValueError: if a waveform is of another rank or type, empty, shorter than a frame,
        not finite or far past [-1, 1]; there is none; or the rates differ.
    """
    rate = sample_rate if sampling_rate is None else sampling_rate
    if not 0 < rate < np.inf:
        raise ValueError(f"sampling_rate is {rate} Hz, expected more than 0")
    if rate != sample_rate and not resample:
        raise ValueError(
            f"the audio is {rate} Hz, the network takes {sample_rate}; resample it, or "
            "pass resample=True"
        )
    alone = False
    if isinstance(audio, list | tuple):
        found = {f"audio[{i}]": np.asarray(clip) for i, clip in enumerate(audio)}
    elif (array := np.asarray(audio)).ndim == 2:
        found = {f"row {i} of the audio": clip for i, clip in enumerate(array)}
    else:
        found, alone = {"the audio": array}, True
    if not found:
        raise ValueError("there is no audio: the list is empty")
    clips = [checked(clip, name) for name, clip in found.items()]
    if rate != sample_rate:
        clips = [read.resample(clip, rate, sample_rate) for clip in clips]
    for name, clip in zip(found, clips, strict=True):
        if len(clip) < FRAME_SAMPLES:
            raise ValueError(
                f"{name} has {len(clip)} samples, a frame needs {FRAME_SAMPLES} (10 ms at "
                f"{sample_rate} Hz); pad or loop it, and give samples along the last axis"
            )
    return clips, alone


def checked(clip: np.ndarray, name: str) -> Waveform:
    """An array of one waveform, or none of it, as float32.

    Args:
      name: of it, for messages.

    Raises:
      ValueError: on another rank or type, or values not finite or far past [-1, 1].
    """
    if clip.ndim != 1:
        raise ValueError(
            f"{name} is of shape {clip.shape}, expected (samples,), or for several clips "
            "(clips, samples) or a list; average channels first"
        )
    if clip.dtype == np.int16:
        return read.from_int16(clip)
    if clip.dtype.kind != "f":
        raise ValueError(
            f"{name} is of type {clip.dtype}, expected int16 or floats in [-1, 1]; "
            "divide other integers by full scale"
        )
    finite = np.isfinite(clip)
    if not finite.all():
        bad = int(finite.argmin())
        raise ValueError(
            f"{name} has {clip[bad]} at sample {bad}, expected finite numbers"
        )
    if (peak := np.abs(clip).max(initial=0)) > read.MAX_PEAK:
        raise ValueError(
            f"{name} reaches {peak:g}, expected [-1, 1]; if these are integers stored as "
            "floats, divide them by full scale (32768 for 16 bit)"
        )
    return clip.astype(np.float32, copy=False)
