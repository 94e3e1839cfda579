"""A file's bytes in, all that was asked of it out."""

import base64
import dataclasses
import io

import numpy as np
from jaxtyping import Float, Float32, Int

from aemjax.audio.lengths import clip_windows
from aemjax.audio.read import AudioError, read_audio
from aemjax.serve.classifier import Classifier, Scored
from aemjax.serve.long_clips import NOT_FINITE
from aemjax.serve.page import answers
from aemjax.serve.page.features import FrontEnd
from aemjax.serve.page.limits import (
    FEATURE_COLUMNS,
    MAX_OVERLAP,
    MAX_WINDOWS,
    WAVEFORM_BINS,
    Limits,
)
from aemjax.serve.page.neighbours import Neighbours
from aemjax.serve.page.problems import BadOptions
from aemjax.serve.waveforms import Waveform

# Of the front end's values, the share that is shown; a click would darken all else.
SHOWN = 0.995


@dataclasses.dataclass(frozen=True)
class Analyser:
    """What a server knows; `analyse` takes seconds, and one call at a time.

    Attributes:
      neighbours: None: there are none to compare with.
      top_k: classes and neighbours where a request does not say.
    """

    classifier: Classifier
    front_end: FrontEnd
    neighbours: Neighbours | None
    limits: Limits
    top_k: int

    def analyse(self, data: bytes, options: answers.Options) -> answers.Answer:
        """Reads and scores one file.

        Raises:
          AudioError: if it cannot be used, or the network's outputs are not finite.
          BadOptions: if there would be too many windows, or they would overlap too much,
            or there are no neighbours.
        """
        if "neighbours" in options.include and self.neighbours is None:
            raise BadOptions(
                "there are no neighbours; start the server with --neighbours, or ask "
                "without"
            )
        clip = self._read(data)
        rate = self.classifier.sample_rate
        top_k = self.top_k if options.top_k is None else options.top_k
        spans = _spans(len(clip), rate, options)
        whole = self._outputs([clip])
        answer = answers.Answer(
            sample_rate=rate,
            duration_s=len(clip) / rate,
            top=_scored(self.classifier.top(whole["scores"][0], top_k)),
        )
        if spans:
            pieces = [clip[start : start + n] for start, n in spans]
            scores = self._outputs(pieces)["scores"]
            answer.windows = [
                answers.Window(
                    start_s=start / rate,
                    end_s=(start + n) / rate,
                    top=_scored(self.classifier.top(row, top_k)),
                )
                for (start, n), row in zip(spans, scores, strict=True)
            ]
            answer.timeline = self._timeline(scores, top_k)
        embedding = whole["embedding"][0]
        if "waveform" in options.include:
            answer.waveform = _outline(clip)
        if "features" in options.include:
            answer.features = self._picture(clip)
        if "embedding" in options.include:
            answer.embedding = embedding.tolist()
        if "neighbours" in options.include:
            nearest = self.neighbours.nearest(embedding, top_k)
            answer.neighbours = [
                answers.Neighbour(path=path, similarity=cosine)
                for path, cosine in nearest
            ]
        return answer

    def _read(self, data: bytes) -> Waveform:
        file = io.BytesIO(data)
        file.name = "the file"  # in messages
        return read_audio(
            file,
            sample_rate=self.classifier.sample_rate,
            max_s=self.limits.max_s,
            max_values=self.limits.max_values,
        )

    def _outputs(self, clips: list[Waveform]) -> dict[str, Float32[np.ndarray, "n _"]]:
        found = self.classifier.outputs(clips)
        _check_finite(*found.values())
        return found

    def _timeline(self, scores: Float[np.ndarray, "n k"], top_k: int):
        best = np.argsort(-scores.max(axis=0), kind="stable")[:top_k]
        return answers.Timeline(
            labels=[self.classifier.labels[i] for i in best],
            probabilities=scores[:, best].T.tolist(),
        )

    def _picture(self, clip: Waveform) -> answers.Features:
        frames = self.front_end(clip)
        _check_finite(frames)
        starts = _starts(frames.shape[1], FEATURE_COLUMNS)
        counts = np.diff(starts, append=frames.shape[1])
        frames = np.add.reduceat(frames, starts, axis=1) / counts
        low, high = float(frames.min()), float(np.quantile(frames, SHOWN))
        shares = ((frames - low) / (high - low or 1)).clip(0, 1)
        tones = self.front_end.tones_hz
        return answers.Features(
            channels=len(frames),
            columns=frames.shape[1],
            data=base64.b64encode(np.rint(255 * np.sqrt(shares)).astype("u1")),
            low=low,
            high=high,
            tones_hz=None if tones is None else tones.round(1).tolist(),
        )


def _spans(
    n_samples: int, rate: int, options: answers.Options
) -> list[tuple[int, int]]:
    if options.window_s is None:
        return []
    # In floats at first: 1e308 s are infinitely many samples.
    window = round(min(options.window_s * rate, n_samples))
    hop_s = options.window_s if options.hop_s is None else options.hop_s
    hop = max(1, round(min(hop_s * rate, window)))
    n = -(-(n_samples - window) // hop) + 1
    what = f"windows of {window / rate:g} s every {hop / rate:g} s are {n}"
    if n > MAX_WINDOWS:
        raise BadOptions(f"{what}, expected {MAX_WINDOWS} at most; give a longer hop_s")
    if n * window > MAX_OVERLAP * n_samples:
        raise BadOptions(
            f"{what}, together {n * window / n_samples:.1f} times as long as the clip, "
            f"expected {MAX_OVERLAP} at most; give a longer hop_s"
        )
    return clip_windows(n_samples, window_samples=window, hop_samples=hop)


def _check_finite(*outputs: Float32[np.ndarray, "..."]) -> None:
    if not all(np.isfinite(x).all() for x in outputs):
        raise AudioError(f"the file: {NOT_FINITE}")


def _scored(top: Scored) -> list[answers.ClassScore]:
    return [answers.ClassScore(label=label, probability=p) for label, p in top]


def _outline(clip: Waveform) -> answers.Waveform:
    starts = _starts(len(clip), WAVEFORM_BINS)
    return answers.Waveform(
        low=np.minimum.reduceat(clip, starts).tolist(),
        high=np.maximum.reduceat(clip, starts).tolist(),
    )


def _starts(n: int, most: int) -> Int[np.ndarray, "m"]:
    """Of equal parts, `most` or as many as there are values."""
    parts = min(n, most)
    return np.arange(parts) * n // parts
