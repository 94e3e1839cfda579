"""Audio files, whole or in windows, and the classes that a network finds in them."""

import dataclasses
import os
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float32

from aemjax.audio.lengths import clip_windows
from aemjax.audio.read import AudioError, read_audio
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.serve.classifier import (
    LONG_S,
    Classifier,
    Scored,
    check_no_gaps,
    check_top_k,
    probabilities,
)
from aemjax.serve.long_clips import NOT_FINITE, run_whole
from aemjax.serve.waveforms import Waveform

# A file, its audio or why there is none, and the (start, samples) of its windows.
_Read = tuple[str, np.ndarray | AudioError, list[tuple[int, int]]]


@dataclasses.dataclass(frozen=True)
class Piece:
    """A file, or a window of it.

    Attributes:
      start_s, end_s: where it is in the file, in seconds.
      top: (label, probability) of its most probable classes.
    """

    file: str
    start_s: float
    end_s: float
    top: Scored


def classify_files(
    classifier: Classifier,
    files: Iterable[str],
    *,
    top_k: int = 5,
    window_s: int | float | None = None,
    hop_s: int | float | None = None,
) -> Iterator[list[Piece] | AudioError]:
    """For each file, in order, its pieces; or why it cannot be used.

    Several are read before they are scored together. A piece of more than 5 min is run in
    parts (`long_clips`).

    Args:
      top_k: classes of each piece.
      window_s: longer files are cut into windows of this length, the last of which ends
        with the file; None: whole files.
      hop_s: between the beginnings of windows; None: a window.

    Raises:
      ValueError: on windows that leave gaps or are shorter than a frame, or no classes.
    """
    check_top_k(top_k)
    rate = classifier.sample_rate
    sizes = _window_samples(rate, window_s, hop_s)
    waiting: list[_Read] = []
    windows = samples = 0
    for file in files:
        try:
            _check_is_no_folder(file)
            audio = read_audio(file, sample_rate=rate)
        except AudioError as error:
            waiting.append((file, error, []))
            continue
        waiting.append((file, audio, clip_windows(len(audio), **sizes)))
        windows += len(waiting[-1][2])
        samples += len(audio)
        if max(windows, samples / (LONG_S * rate)) >= classifier.batch_size:
            yield from _classify(classifier, waiting, top_k)
            waiting, windows, samples = [], 0, 0
    yield from _classify(classifier, waiting, top_k)


def _check_is_no_folder(file: str) -> None:
    if os.path.isdir(file):  # False, too, for a name that none can have
        raise AudioError(
            f"{file}: cannot be read (Is a directory), expected an audio file; name those "
            "in it, or give the folder to `aemjax embed`"
        )


def _classify(
    classifier: Classifier, files: list[_Read], top_k: int
) -> Iterator[list[Piece] | AudioError]:
    clips = [audio[start : start + n] for _, audio, own in files for start, n in own]
    scores = iter(_scores(classifier, clips) if clips else ())
    rate = classifier.sample_rate
    for file, audio, own in files:
        if isinstance(audio, AudioError):
            yield audio
            continue
        found = [next(scores) for _ in own]
        if not np.isfinite(found).all():
            yield AudioError(f"{file}: {NOT_FINITE}")
            continue
        tops = [classifier.top(row, top_k) for row in found]
        yield [
            Piece(file, start / rate, (start + n) / rate, top)
            for (start, n), top in zip(own, tops, strict=True)
        ]


def _scores(
    classifier: Classifier, clips: list[Waveform]
) -> Float32[np.ndarray, "n k"]:
    logits = run_whole(classifier, clips)["logits"]
    return np.asarray(probabilities(logits, multi_label=classifier.multi_label))


def _window_samples(
    rate: int, window_s: int | float | None, hop_s: int | float | None
) -> dict[str, int]:
    if window_s is None:
        if hop_s is not None:
            raise ValueError(f"a hop of {hop_s} s needs a window; name its length too")
        return {"window_samples": 0, "hop_samples": 0}
    hop_s = window_s if hop_s is None else hop_s
    if not (FRAME_SAMPLES <= window_s * rate < np.inf and 1 <= hop_s * rate):
        raise ValueError(
            f"windows of {window_s} s every {hop_s} s: expected a window of 10 ms or more, "
            "and a hop of more than 0"
        )
    check_no_gaps(window_s, hop_s)
    window, hop = round(window_s * rate), round(hop_s * rate)
    return {"window_samples": window, "hop_samples": hop}
