"""A network on a stream: features as they are complete, and scores of a rolling window::

    stream = ScoreStream(aemjax.load("released"), window_s=5, hop_s=1)
    for chunk in microphone:  # of any number of samples
        for scored in stream.push(chunk):
            print(scored.end_s, scored.scores)

Features are those of the whole stream as one clip, but for float32's rounding: an output
comes when all that it sees has been heard, and at the end of the stream the rest comes,
with the zeros that a clip has at its end.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int
from numpy.typing import ArrayLike

from aemjax.models.aemnet import parts
from aemjax.models.compiling import jit_network
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.models.receptive import Field, field_of
from aemjax.serve.blocks import Blocks
from aemjax.serve.classifier import (
    Classifier,
    apply,
    check_no_gaps,
    own_variables,
    probabilities,
)
from aemjax.serve.running import Given, Running
from aemjax.serve.waveforms import checked

# What the front end computes at once: it sees little, so that little is computed twice.
FRONTEND_BLOCK_S = 0.1
TRACED_FRAMES = 64  # to see fields and shapes of a network; any number would do
# Memory is set aside for a window and a block of these lengths.
MAX_WINDOW_S = 3_600
MAX_BLOCK_S = 300


@dataclasses.dataclass(frozen=True)
class Features:
    """What became known with a chunk of audio.

    Attributes:
      llf: output of the front end, a frame for each 10 ms.
      hlf: of the backbone, a frame for each `FeatureStream.stride_samples`.
    """

    llf: Float32[np.ndarray, "f c"]
    hlf: Float32[np.ndarray, "g w d"]


class FeatureStream:
    """Front end and backbone on a stream.

    Front ends and backbones of convolutions, pools and what acts on each frame by itself
    can be streamed; log-mel and MFCC are not.

    Attributes:
      sample_rate: Hz.
      stride_samples: of a frame of the backbone, which stands for samples
        i * stride_samples to (i + 1) * stride_samples.
      look_ahead_samples: how much past its end such a frame sees, and so waits for.
      heard_samples: what was pushed.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        mean: float | int | None = None,
        std: float | int | None = None,
        memory_s: float | int = 10.0,
        block_s: float | int = 0.5,
    ):
        """Begins a stream.

        Args:
          mean, std: that the audio is standardised by; None: running ones, of each 10 ms
            those of what was heard up to their end.
          memory_s: of running ones, that what was heard so long ago counts 1/e as much;
            infinity: everything counts the same.
          block_s: how much the backbone computes at once, rounded down to its frames, but
            one at least. The shorter, the sooner a frame comes, and the more is computed
            twice. With 0 each comes with the last sample that it sees.

        Raises:
          ValueError: on one of `mean` and `std` without the other, numbers out of range,
            or a network that cannot be streamed.
        """
        if (mean is None) != (std is None):
            raise ValueError(f"mean {mean} and deviation {std}: give both or none")
        if not 0 <= block_s <= MAX_BLOCK_S:
            raise ValueError(
                f"blocks of {block_s} s, expected a number of 0 or more, {MAX_BLOCK_S} at "
                "most"
            )
        self.sample_rate = rate = classifier.sample_rate
        if mean is None:
            self._statistics = Running(memory_s, sample_rate=rate)
        else:
            self._statistics = Given(mean, std)
        frontend, backbone, _ = parts(classifier.model)
        llf = _traced(frontend, (TRACED_FRAMES * FRAME_SAMPLES,))
        hlf = _traced(backbone, llf.output)
        whole = hlf.field.after(llf.field)
        self.stride_samples, self.look_ahead_samples = whole.stride, whole.look_ahead
        self.heard_samples = 0
        frontend_s, variables = min(block_s, FRONTEND_BLOCK_S), classifier.variables
        self._llf = llf.blocks(
            own_variables(variables, "frontend"),
            int(frontend_s * rate) // llf.field.stride,
        )
        self._hlf = hlf.blocks(
            own_variables(variables, "backbone"), int(block_s * rate) // whole.stride
        )
        self._is_closed = False

    @property
    def look_ahead_s(self) -> float:
        """The same in seconds."""
        return self.look_ahead_samples / self.sample_rate

    def push(self, audio: ArrayLike) -> Features:
        """What became known with the next samples, "n" of any number, of the stream.

        Args:
          audio: float in [-1, 1], or int16.

        Raises:
          ValueError: on another rank or type, values not finite or far past [-1, 1], or
            a stream that was closed.
        """
        self._check_is_open()
        audio = checked(np.asarray(audio), "the chunk")
        self.heard_samples += len(audio)
        return self._features(self._statistics.push(audio))

    def close(self) -> Features:
        """What is left at the end of the stream.

        Raises:
          ValueError: if the stream was shorter than a frame of 10 ms, or closed before.
        """
        self._check_is_open()
        self._is_closed = True
        if self.heard_samples < FRAME_SAMPLES:
            raise ValueError(
                f"the stream ended after {self.heard_samples} samples, a frame needs "
                f"{FRAME_SAMPLES} (10 ms at {self.sample_rate} Hz)"
            )
        waited = self._features(self._statistics.close())
        llf = self._llf.close()
        hlf = [waited.hlf, self._hlf.push(llf), self._hlf.close()]
        return Features(np.concatenate([waited.llf, llf]), np.concatenate(hlf))

    def _features(self, audio: Float32[np.ndarray, "n"]) -> Features:
        llf = self._llf.push(audio)
        return Features(llf, self._hlf.push(llf))

    def _check_is_open(self) -> None:
        if self._is_closed:
            raise ValueError("the stream was closed; begin another one")


@dataclasses.dataclass(frozen=True)
class WindowScores:
    """A window of the stream.

    Attributes:
      start_s, end_s: where it is in the stream, in seconds.
      embedding: of 512 numbers.
      scores: probability of each class, in [0, 1].
    """

    start_s: float
    end_s: float
    embedding: Float32[np.ndarray, "d"]
    scores: Float32[np.ndarray, "k"]


class ScoreStream:
    """Embedding and scores of the last seconds of a stream, again and again.

    A window is the average of the backbone's frames in it, made of the whole stream: they
    see what is before the window too, and the look-ahead after it. (A clip cut out of
    the stream would end in zeros there, and be standardised by itself.) The first windows
    begin with the stream and are shorter. If all of the stream is one window, and mean
    and deviation are the stream's own, its last scores are those of the clip.

    Attributes:
      features: the `FeatureStream` within.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        window_s: float | int = 5.0,
        hop_s: float | int = 1.0,
        **features,
    ):
        """Begins a stream.

        Args:
          window_s: length of a window, rounded to frames of the backbone; of as many as
            a hop touches at least.
          hop_s: from one window's end to the next, each of which is the end of the first
            frame to reach a multiple of this.
          features: options of `FeatureStream`.

        Raises:
          ValueError: on numbers out of range, a hop longer than a window, or as
            `FeatureStream`.
        """
        for name, value in {"window": window_s, "hop": hop_s}.items():
            if not 0 < value <= MAX_WINDOW_S:
                raise ValueError(
                    f"a {name} of {value} s, expected more than 0, {MAX_WINDOW_S} at most"
                )
        check_no_gaps(window_s, hop_s)
        self.features = FeatureStream(classifier, **features)
        rate, stride = classifier.sample_rate, self.features.stride_samples
        self._hop_samples = max(1, round(hop_s * rate))
        # Ends of windows are as many frames apart as a hop touches, at most.
        touched = -(-self._hop_samples // stride)
        n_frames = max(touched, round(window_s * rate / stride))
        self._window = collections.deque(maxlen=n_frames)
        self._frames = 0  # since the beginning
        self._scored = 0  # of them, in windows
        _, _, tail = parts(classifier.model)
        self._tail = functools.partial(
            _scoring(tail, multi_label=classifier.multi_label),
            jax.device_put(classifier.variables),
        )

    def push(self, audio: ArrayLike) -> list[WindowScores]:
        """The windows that the next samples, "n" of any number, complete.

        Args:
          audio: float in [-1, 1], or int16.

        Raises:
          ValueError: as `FeatureStream.push`.
        """
        return self._windows(self.features.push(audio))

    def close(self) -> list[WindowScores]:
        """The windows left at the end of the stream; the last one ends with it.

        Raises:
          ValueError: as `FeatureStream.close`.
        """
        found = self._windows(self.features.close())
        return found if self._scored == self._frames else [*found, self._score()]

    def _windows(self, features: Features) -> list[WindowScores]:
        found = []
        stride = self.features.stride_samples
        for frame in features.hlf:
            self._window.append(frame)
            before = self._frames * stride // self._hop_samples
            self._frames += 1
            if self._frames * stride // self._hop_samples > before:
                found.append(self._score())
        return found

    def _score(self) -> WindowScores:
        self._scored = self._frames
        n_frames = len(self._window)
        frames = np.zeros((self._window.maxlen, *self._window[0].shape), np.float32)
        frames[:n_frames] = self._window
        embedding, scores = self._tail(frames[None], np.array([n_frames], np.int32))
        stride, heard = self.features.stride_samples, self.features.heard_samples
        rate = self.features.sample_rate
        return WindowScores(
            (self._frames - n_frames) * stride / rate,
            min(self._frames * stride, heard) / rate,
            np.asarray(embedding)[0],
            np.asarray(scores)[0],
        )


@dataclasses.dataclass(frozen=True)
class _Traced:
    """Front end or backbone, what it sees, and the shapes "n *c" and "m *d" of a trace."""

    module: nn.Module
    field: Field
    input: tuple[int, ...]
    output: tuple[int, ...]

    def blocks(self, weights, outputs: int) -> Blocks:
        function = functools.partial(_applying(self.module), jax.device_put(weights))
        shapes = self.input[1:], self.output[1:]
        return Blocks(function, self.field, *shapes, outputs=max(1, outputs))


@functools.lru_cache
def _traced(module: nn.Module, shape: tuple[int, ...]) -> _Traced:
    def function(x):
        init = functools.partial(module.init_with_output, jax.random.key(0))
        (y, _), _ = init(_image(x), None, train=False)
        return y

    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    field = field_of(function, x, name=type(module).__name__)
    return _Traced(module, field, shape, jax.eval_shape(function, x).shape[1:])


def _image(x):
    # A backbone reads features "b f c" as an image of one channel.
    return x.reshape(*x.shape, 1) if x.ndim == 3 else x


# Modules are compared by their fields, so that streams of one network share what was
# compiled.
@functools.lru_cache
def _applying(module: nn.Module) -> Callable:
    def function(
        weights, x: Float[Array, "1 n *c"], valid: Int[Array, "1"]
    ) -> tuple[Float[Array, "1 m *d"], Int[Array, "1"]]:
        return apply(module, weights, _image(x), valid, train=False)

    return jit_network(function)


@functools.lru_cache
def _scoring(module: nn.Module, *, multi_label: bool) -> Callable:
    def function(
        variables, frames: Float[Array, "1 f w c"], valid: Int[Array, "1"]
    ) -> tuple[Float[Array, "1 d"], Float[Array, "1 k"]]:
        logits, aux = apply(module, variables, frames, valid)
        return aux["embedding"], probabilities(logits, multi_label=multi_label)

    return jit_network(function)
