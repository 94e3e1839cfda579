"""A network that takes audio as it comes: waveforms in, embeddings and scores out."""

import functools
import os
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from jaxtyping import Array, Float, Float32, Int

from aemjax.audio.lengths import bucket_samples
from aemjax.audio.read import standardize
from aemjax.models import AemNet, create
from aemjax.models.compiling import jit_network
from aemjax.serve import release
from aemjax.serve.waveforms import Audio, Waveform, waveforms
from aemjax.train.card import Card

PyTree = Any
Scored = list[tuple[str, float]]

# Of longer clips, as many fewer go into a batch: it is to fit the memory.
LONG_S = 10


class Classifier:
    """Embeds and classifies waveforms; `aemjax.load` makes one.

    Audio is one waveform "t", an array "n t", or a list of waveforms of any lengths, in
    float [-1, 1] or int16, at `sample_rate`. Each clip is brought to mean 0 and deviation
    1 by itself, and scored whole: but for rounding, what else is in the list does not
    matter. What is compiled, at first use, depends on the number of clips and their
    longest, both rounded up, so that few shapes are.

    Where a method takes `sampling_rate`, that is the audio's, in Hz: if it is another one,
    the audio is resampled with `resample=True`, and refused without.

    Attributes:
      sample_rate: Hz of the audio that it takes.
      labels: class names, in the order of the scores.
      multi_label: whether scores are independent (sigmoid) or sum to 1 (softmax).
      card: what else the checkpoint said of itself.
      model: the Flax module, in float32.
      variables: its weights, {"params", "batch_stats"}, as NumPy arrays.
      batch_size: clips that are run at once; fewer, if they are longer than 10 s.
    """

    def __init__(self, card: Card, variables: PyTree, *, batch_size: int | None = None):
        """Takes what a checkpoint holds.

        Args:
          batch_size: None: 32; on a CPU, whose cores one clip keeps busy, 1.

        Raises:
          ValueError: if the batch is empty, or the card's model is none.
        """
        if batch_size is None:
            batch_size = 1 if jax.default_backend() == "cpu" else 32
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected 1 or more")
        self.card = card
        self.sample_rate = card.sample_rate
        self.labels = tuple(card.labels)
        self.multi_label = card.multi_label
        self.batch_size = batch_size
        # In float32, whatever it was trained in: as exported files are.
        self.model = create(**card.model | {"dtype": "float32"})
        self.variables = variables
        self._forward = jit_network(
            functools.partial(_outputs, self.model, self.multi_label)
        )

    def embed(
        self,
        audio: Audio,
        *,
        sampling_rate: int | float | None = None,
        resample: bool = False,
    ) -> Float32[np.ndarray, "*n d"]:
        """Embeddings of 512 numbers: "d" of one waveform, else "n d".

        Raises:
          ValueError: if a waveform is of another rank or type, empty, shorter than 10 ms,
            not finite or far past [-1, 1]; there is none; or `sampling_rate` differs.
        """
        return self._run("embedding", audio, sampling_rate, resample)

    def scores(
        self,
        audio: Audio,
        *,
        sampling_rate: int | float | None = None,
        resample: bool = False,
    ) -> Float32[np.ndarray, "*n k"]:
        """Probability of each class, in [0, 1]: "k" of one waveform, else "n k".

        Raises:
          ValueError: as `embed`.
        """
        return self._run("scores", audio, sampling_rate, resample)

    def classify(
        self,
        audio: Audio,
        top_k: int = 5,
        *,
        sampling_rate: int | float | None = None,
        resample: bool = False,
    ) -> Scored | list[Scored]:
        """(label, probability) of the most probable classes, the first one first.

        Args:
          top_k: how many; all, where there are fewer.

        Returns:
          Those of one waveform, else a list of them.

        Raises:
          ValueError: as `embed`, or if `top_k` is less than 1.
        """
        check_top_k(top_k)
        scores = self._run("scores", audio, sampling_rate, resample)
        if scores.ndim == 1:
            return self.top(scores, top_k)
        return [self.top(row, top_k) for row in scores]

    def top(self, scores: Float32[np.ndarray, "k"], top_k: int) -> Scored:
        """(label, probability) of the most probable classes, the first one first."""
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [(self.labels[i], float(scores[i])) for i in order.tolist()]

    def _run(
        self,
        output: str,
        audio: Audio,
        sampling_rate: int | float | None,
        resample: bool,
    ) -> Float32[np.ndarray, "*n d"]:
        clips, alone = waveforms(
            audio,
            sample_rate=self.sample_rate,
            sampling_rate=sampling_rate,
            resample=resample,
        )
        values = self.outputs(clips)[output]
        return values[0] if alone else values

    def outputs(
        self, clips: Sequence[Waveform], *, standardized: bool = False
    ) -> dict[str, Float32[np.ndarray, "n _"]]:
        """All that the network makes of clips, for callers that checked them.

        Args:
          clips: one or more, in float32 at `sample_rate`, of a frame or more.
          standardized: they are; else each is, by itself.

        Returns:
          "embedding" "n 512", "logits" and "scores" "n k".
        """
        n_samples = np.array([len(clip) for clip in clips])
        long_samples = LONG_S * self.sample_rate
        plan = batches(n_samples, self.batch_size, long_samples=long_samples)
        parts = []
        for own, rows, padded_samples in plan:
            batch, lengths = _padded(
                [clips[i] for i in own], rows, padded_samples, standardized
            )
            found = self._forward(self._on_device, batch, lengths)
            parts.append({key: np.asarray(x)[: len(own)] for key, x in found.items()})
        place = np.argsort(np.concatenate([own for own, _, _ in plan]))
        return {
            key: np.concatenate([part[key] for part in parts])[place]
            for key in parts[0]
        }

    @functools.cached_property
    def _on_device(self) -> PyTree:
        return jax.device_put(self.variables)


def check_top_k(top_k: int) -> None:
    """Refuses fewer than one class with a ValueError."""
    if top_k < 1:
        raise ValueError(f"top_k is {top_k}, expected 1 or more")


def check_no_gaps(window_s: int | float, hop_s: int | float) -> None:
    """Refuses windows that leave gaps with a ValueError."""
    if hop_s > window_s:
        raise ValueError(
            f"windows of {window_s} s every {hop_s} s would leave gaps; expected a hop no "
            "longer than a window"
        )


def batches(
    n_samples: Int[np.ndarray, "n"], batch_size: int, *, long_samples: int
) -> list[tuple[Int[np.ndarray, "m"], int, int]]:
    """(clips, rows, padded samples) of each batch, longest clips first.

    Clips of a batch are at least half as long as its longest. There are at least as many
    rows as clips, a power of two or all that a batch may have.

    Args:
      n_samples: of each clip.
      long_samples: of clips beyond it, a batch has as many samples and so fewer clips.
    """
    order = np.argsort(-n_samples, kind="stable")
    plan = []
    while len(order):
        longest = int(n_samples[order[0]])
        padded = bucket_samples(longest)
        most = max(1, min(batch_size, batch_size * long_samples // padded))
        own = order[:most]
        own = own[2 * n_samples[own] >= longest]
        rows = min(1 << (len(own) - 1).bit_length(), most)
        plan.append((own, rows, padded))
        order = order[len(own) :]
    return plan


def _padded(
    clips: Sequence[Waveform], rows: int, padded_samples: int, standardized: bool
) -> tuple[Float32[np.ndarray, "b t"], Int[np.ndarray, "b"]]:
    """(standardised clips, their samples); rows past the clips are silence."""
    audio = np.zeros((rows, padded_samples), np.float32)
    lengths = np.full(rows, padded_samples, np.int32)
    for i, clip in enumerate(clips):
        audio[i, : len(clip)] = clip if standardized else standardize(clip)
        lengths[i] = len(clip)
    return audio, lengths


def _outputs(
    model: AemNet,
    multi_label: bool,
    variables: PyTree,
    audio: Float[Array, "b t"],
    lengths: Int[Array, "b"],
) -> dict[str, Array]:
    logits, aux = apply(model, variables, audio, lengths, train=False)
    logits = logits.astype(jnp.float32)
    scores = probabilities(logits, multi_label=multi_label)
    embedding = aux["embedding"].astype(jnp.float32)
    return {"embedding": embedding, "logits": logits, "scores": scores}


def apply(module: nn.Module, variables: PyTree, *arguments, **options):
    """`module.apply`, for weights that were read from a file.

    Raises:
      ValueError: if they are not those of the module.
    """
    try:
        return module.apply(variables, *arguments, **options)
    except (FlaxError, TypeError) as error:  # the latter of statistics' shapes
        raise ValueError(
            f"the weights are not those of the card's model: {error}; copy or make the "
            "network's folder again"
        ) from error


def own_variables(variables: PyTree, block: str) -> PyTree:
    """Those of one of a network's blocks, for the block by itself."""
    kinds = ("params", "batch_stats")
    return {kind: variables.get(kind, {}).get(block, {}) for kind in kinds}


def probabilities(
    logits: Float[Array | np.ndarray, "*n k"], *, multi_label: bool
) -> Float[Array, "*n k"]:
    """Of each class, in [0, 1]; unless `multi_label`, they sum to 1."""
    return jax.nn.sigmoid(logits) if multi_label else jax.nn.softmax(logits)


def load(path: str | os.PathLike, *, batch_size: int | None = None) -> Classifier:
    """The classifier of a released network or of a training run.

    Args:
      path: a folder of `aemjax release`; or a run's, with "@last" or "@STEP" behind it
        for other than its best step, for which Orbax is imported.
      batch_size: clips that are run at once; None: 32, on a CPU 1.

    Raises:
      ValueError: if the path holds neither, or what it holds is not whole.
    """
    if release.is_release(path):
        variables, card, _ = release.read_network(path)
        return Classifier(card, variables, batch_size=batch_size)
    from aemjax.data.folders import as_path  # these import Orbax and the optimiser
    from aemjax.train import checkpoint

    folder, _ = checkpoint.split_spec(os.fspath(path))
    if not (as_path(folder) / checkpoint.FOLDER).is_dir():
        raise ValueError(
            f"{folder} holds neither {release.CARD} nor {checkpoint.FOLDER}/; expected a "
            "folder of `aemjax release`, or a run's own folder"
            + checkpoint.did_you_mean(folder)
        )
    weights, card, _ = checkpoint.load(os.fspath(path))
    return Classifier(card, weights, batch_size=batch_size)
