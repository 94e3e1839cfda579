"""The front end's output as a picture: channels from low to high over time."""

import functools

import jax
import numpy as np
from jaxtyping import Float, Float32, Int

from aemjax.audio.lengths import bucket_samples
from aemjax.audio.read import standardize
from aemjax.models.aemnet import parts
from aemjax.models.compiling import jit_network
from aemjax.models.frontends import first_kernel
from aemjax.serve.classifier import Classifier, apply
from aemjax.serve.waveforms import Waveform

# A filter of the second convolution has no frequency of its own: it mixes those of the
# first. So channels are in the order of the tones that they answer to most.
TONES = 96
TONE_S = 0.2
LOWEST_HZ = 60


class FrontEnd:
    """What a network's front end makes of clips."""

    def __init__(self, classifier: Classifier):
        frontend, _, _ = parts(classifier.model)
        self._sample_rate = rate = classifier.sample_rate
        self._tones_hz = np.geomspace(LOWEST_HZ, 0.99 * rate / 2, TONES)
        self._is_learned = first_kernel(classifier.variables["params"]) is not None
        self._weights = jax.device_put(
            {
                kind: own.get("frontend", {})
                for kind, own in classifier.variables.items()
            }
        )
        self._apply = jit_network(functools.partial(apply, frontend, train=False))

    @functools.cached_property
    def tones_hz(self) -> Float[np.ndarray, "c"] | None:
        """Of each channel, the tone that it answers to most, ascending.

        None of a front end that learned no filters.
        """
        return self._tones_hz[np.sort(self._best_tones)] if self._is_learned else None

    def __call__(self, clip: Waveform) -> Float32[np.ndarray, "c f"]:
        """Its frames of 10 ms; channels are in the order of their tones, or their own."""
        picture = self._run(clip[None])[0].T
        if self._is_learned:
            picture = picture[np.argsort(self._best_tones, kind="stable")]
        return picture

    @functools.cached_property
    def _best_tones(self) -> Int[np.ndarray, "c"]:
        t = np.arange(round(TONE_S * self._sample_rate)) / self._sample_rate
        answers = self._run(np.sin(2 * np.pi * self._tones_hz[:, None] * t))
        return answers.mean(axis=1).argmax(axis=0)

    def _run(self, clips: Float[np.ndarray, "b t"]) -> Float32[np.ndarray, "b f c"]:
        n_samples = clips.shape[1]
        audio = np.zeros((len(clips), bucket_samples(n_samples)), np.float32)
        audio[:, :n_samples] = [standardize(clip) for clip in clips]
        lengths = np.full(len(clips), n_samples, np.int32)
        frames, valid = self._apply(self._weights, audio, lengths)
        return np.asarray(frames)[:, : int(valid[0])]
