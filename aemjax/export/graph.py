"""What is exported: a function of audio alone, its weights inside."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aemjax.audio.read import MIN_STD
from aemjax.models import create
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.train.checkpoint import load

PyTree = Any

INPUT = "audio"
OUTPUTS = ("logits", "embedding")


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network as a function, and what a file must say of it.

    Attributes:
      function: audio "b t" -> (logits "b k", embedding "b d"), float32.
      metadata: texts by name: docs/export.md lists them.
    """

    function: Callable
    metadata: dict[str, str]

    @functools.cached_property
    def _compiled(self) -> Callable:
        return jax.jit(self.function)

    def __call__(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The outputs of the model itself, which files are checked against."""
        return jax.device_get(self._compiled(audio))


def read_network(spec: str, *, standardize: bool = False) -> Network:
    """The network of a run's checkpoint.

    Args:
      spec: of `aemjax.train.checkpoint.load`.
      standardize: whether the function takes audio as it comes, in [-1, 1], and brings
        each clip to mean 0 and deviation 1 itself; else it takes clips that are.

    Raises:
      ValueError: if there is no such checkpoint.
    """
    weights, card, step = load(spec)
    # In float32, whatever it was trained in: engines are compared with it to 1e-4.
    model = create(**card.model | {"dtype": "float32"})
    variables = jax.tree.map(jnp.asarray, weights)

    def function(audio):
        if standardize:
            audio = audio - audio.mean(axis=1, keepdims=True)
            std = jnp.sqrt(jnp.mean(audio**2, axis=1, keepdims=True))
            audio = audio / jnp.maximum(std, MIN_STD)
        logits, aux = model.apply(variables, audio, train=False)
        return logits.astype(jnp.float32), aux["embedding"].astype(jnp.float32)

    metadata = {
        "labels": "\n".join(card.labels),
        "sample_rate": str(card.sample_rate),
        "scores": "sigmoid" if card.multi_label else "softmax",
        "input": "audio in [-1, 1]"
        if standardize
        else "audio of mean 0 and deviation 1, clip by clip",
        "shortest_input": str(FRAME_SAMPLES),
        "model": ", ".join(f"{key}={value}" for key, value in card.model.items()),
        "checkpoint": f"{spec}, step {step}",
        "commit": card.commit,
    }
    return Network(function, metadata)
