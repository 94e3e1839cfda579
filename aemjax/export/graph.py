"""What is exported: a function of audio alone, its weights inside."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from aemjax.audio.read import MIN_STD
from aemjax.compress.folding import fold
from aemjax.compress.ranges import observe
from aemjax.models import AemNet, create
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.models.numerics import FLOAT, FOLDED, INT8, Rounding, round_kernels
from aemjax.train.checkpoint import load

PyTree = Any

INPUT = "audio"
OUTPUTS = ("logits", "embedding")
DTYPES = ("float32", "int8")


@dataclasses.dataclass(frozen=True)
class Limit:
    """A range of activations: [-largest, largest] if signed, else [0, largest]."""

    largest: float
    signed: bool


@dataclasses.dataclass(frozen=True)
class Integers:
    """What makes an engine's integers of a folded network.

    Attributes:
      kernels: by the path of their layer ("backbone/conv3"), as the function has them, in
        the order in which it comes to them.
      limits: of activations, by the path of the point where they are rounded.
    """

    kernels: dict[str, np.ndarray]
    limits: dict[str, Limit]


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network as a function, and what a file must say of it.

    Attributes:
      function: audio "b t" -> (logits "b k", embedding "b d"), float32. For a file of
        integers that of the folded network, which its format makes integers of.
      metadata: texts by name: docs/export.md lists them.
      reference: compiled, the function that the file must give: for a file of integers
        with rounded activations, else the same.
      integers: for a file of them.
    """

    function: Callable
    metadata: dict[str, str]
    reference: Callable
    integers: Integers | None = None

    def __call__(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The outputs of the model itself, which files are checked against."""
        return jax.device_get(self.reference(audio))


def read_network(
    spec: str,
    *,
    standardize: bool = False,
    dtype: str = "float32",
    calibration: Sequence[np.ndarray] = (),
) -> Network:
    """The network of a run's checkpoint.

    Args:
      spec: of `aemjax.train.checkpoint.load`.
      standardize: whether the function takes audio as it comes, in [-1, 1], and brings
        each clip to mean 0 and deviation 1 itself; else it takes clips that are.
      dtype: of `DTYPES`; "int8" of any network, "float32" of one that was not trained for
        integers.
      calibration: standardised audio "b t", for a network of integers that was not trained
        for them: its ranges are those of this.

    Raises:
      ValueError: if there is no such checkpoint, or not in this type.
    """
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    weights, card, step = load(spec)
    # In float32, whatever it was trained in: engines are compared with it to 1e-4.
    options = card.model | {"dtype": "float32"}
    trained_in = options.pop("numerics", FLOAT)
    model = create(**options, numerics=trained_in)
    metadata = {
        "labels": "\n".join(card.labels),
        "sample_rate": str(card.sample_rate),
        "scores": "sigmoid" if card.multi_label else "softmax",
        "input": "audio in [-1, 1]"
        if standardize
        else "audio of mean 0 and deviation 1, clip by clip",
        "shortest_input": str(FRAME_SAMPLES),
        "model": ", ".join(f"{key}={value}" for key, value in card.model.items()),
        "dtype": dtype,
        "checkpoint": f"{spec}, step {step}",
        "commit": card.commit,
    }
    if dtype == "float32":
        if trained_in != FLOAT:
            raise ValueError(
                f"{spec} was trained for {trained_in}, which float32 would not repeat; "
                "export it as int8"
            )
        return _network(model, weights, standardize, metadata)
    rounding = create(**options, numerics=INT8)
    if trained_in != INT8:
        params = fold(weights)
        statistics = observe(rounding, params, calibration)
        weights = {"params": params, "batch_stats": statistics}
    params = jax.device_get(jax.jit(round_kernels)(weights["params"]))
    folded = create(**options, numerics=FOLDED)
    return dataclasses.replace(
        _network(folded, {"params": params}, standardize, metadata),
        reference=_network(rounding, weights, standardize, metadata).reference,
        integers=_integers(params, _limits(rounding, weights)),
    )


def _network(
    model: AemNet, weights: PyTree, standardize: bool, metadata: dict[str, str]
) -> Network:
    def function(variables, audio):
        if standardize:
            audio = audio - audio.mean(axis=1, keepdims=True)
            std = jnp.sqrt(jnp.mean(audio**2, axis=1, keepdims=True))
            audio = audio / jnp.maximum(std, MIN_STD)
        logits, aux = model.apply(variables, audio, train=False)
        return logits.astype(jnp.float32), aux["embedding"].astype(jnp.float32)

    variables = jax.tree.map(jnp.asarray, weights)
    return Network(
        functools.partial(function, variables),
        metadata,
        functools.partial(jax.jit(function), variables),
    )


def _integers(params: PyTree, limits: dict[str, Limit]) -> Integers:
    layers = [point.removesuffix("_out") for point in limits]
    flat = flatten_dict(params, sep="/")
    kernels = {x: flat[f"{x}/kernel"] for x in layers if f"{x}/kernel" in flat}
    return Integers(kernels, limits)


def _limits(model: AemNet, weights: PyTree) -> dict[str, Limit]:
    """Those in a network's statistics."""
    limits = flatten_dict(weights["batch_stats"])
    found = {}

    def note(call, args, kwargs, context):
        if isinstance(module := context.module, Rounding):
            found[module.path] = module.signed
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        audio = jax.ShapeDtypeStruct((1, FRAME_SAMPLES), jnp.float32)
        jax.eval_shape(model.apply, weights, audio)
    largest = {path: float(limits[*path, "limit"]) for path in found}
    if not any(largest.values()):
        raise ValueError(
            "the network has seen no audio that its activations could have ranges of: "
            "train it for a step or more"
        )
    return {  # what was always zero has any range
        "/".join(path): Limit(largest[path] or 1.0, signed)
        for path, signed in found.items()
    }
