"""PyTorch state dicts in safetensors files: the same weights under PyTorch's names::

    ours                                    PyTorch's
    backbone/conv3/kernel "h w i o"         backbone.conv3.weight "o i h w"
    head/dense/kernel "i o"                 head.dense.weight "o i"
    backbone/bn3/scale, /bias               backbone.bn3.weight, .bias
    backbone/bn3/mean, /var                 backbone.bn3.running_mean, .running_var
                                            backbone.bn3.num_batches_tracked

Of an image, "b f w c" here and "b c f w" there, the frames come first in both: a kernel's
h is of frames. `benchmarks/pytorch_aemnet.py` has modules of these names.
"""

import dataclasses
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from aemjax.audio.read import SAMPLE_RATE
from aemjax.data.folders import AnyPath, as_path
from aemjax.export.graph import read_network
from aemjax.export.write import new_file
from aemjax.models import create
from aemjax.train.card import Card
from aemjax.train.checkpoint import Checkpoints, load
from aemjax.train.state import INIT_SAMPLES, TrainState
from aemjax.train.workdir import difference

PyTree = Any
StateDict = dict[str, np.ndarray]

# For the page beside a file.
USE = """
```python
from safetensors.torch import load_file

network.load_state_dict(load_file("{file}"))
```

The network is that of `benchmarks/pytorch_aemnet.py`.
"""
CARD = "aemjax_card"  # of a file's metadata: the checkpoint's card, as JSON

# (collection, array) of a module -> its name in PyTorch.
ARRAYS = {
    ("params", "kernel"): "weight",
    ("params", "bias"): "bias",
    ("params", "scale"): "weight",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
# PyTorch counts the batches that a BatchNorm has seen, and reads the count only where
# it has no momentum: ours have one.
COUNT = "num_batches_tracked"


def to_state_dict(variables: PyTree) -> StateDict:
    """The state dict of a network's variables, {"params", "batch_stats"}.

    Raises:
      ValueError: on an array that PyTorch has no name for.
    """
    state = {}
    for path, array in flatten_dict(variables).items():
        # Files hold memory as it lies, so a transposed view would be written wrongly.
        state[_name(path)] = np.ascontiguousarray(
            np.transpose(array, _axes(path, array.ndim))
        )
        if path[-1] == "mean":
            state[_sibling(_name(path), COUNT)] = np.zeros((), np.int64)
    return state


def from_state_dict(
    state: Mapping[str, np.ndarray], like: PyTree, *, what: str = "the state dict"
) -> PyTree:
    """The variables that a state dict holds; the inverse of `to_state_dict`.

    Args:
      state: `num_batches_tracked` is ignored, and need not be there.
      like: variables of the same network, or their shapes alone.
      what: the state dict, in messages.

    Raises:
      ValueError: unless every array of the network is there, with its shape and in
        float32, and nothing else; or if a value is not finite.
    """
    shapes = flatten_dict(like)
    names = {_name(path): path for path in shapes}
    counts = {_sibling(name, COUNT) for name in names if name.endswith("running_mean")}
    wanted = {}
    for name, path in names.items():
        shape = shapes[path].shape
        wanted[name] = f"float32 {[shape[axis] for axis in _axes(path, len(shape))]}"
    found = {
        name: f"{array.dtype} {list(array.shape)}"
        for name, array in state.items()
        if name not in counts
    }
    if found != wanted:
        raise ValueError(
            f"{what} does not fit the model; "
            + difference(found, wanted, "the file", "the model")
        )
    if broken := sorted(name for name in found if not np.isfinite(state[name]).all()):
        raise ValueError(
            f"{what} holds values that are not finite, in {', '.join(broken[:10])}"
        )
    return unflatten_dict(
        {
            path: np.ascontiguousarray(
                np.transpose(state[name], np.argsort(_axes(path, state[name].ndim)))
            )
            for name, path in names.items()
        }
    )


def _name(path: tuple[str, ...]) -> str:
    collection, *modules, array = path
    if (collection, array) not in ARRAYS:
        known = ", ".join(array for _, array in ARRAYS)
        raise ValueError(
            f"{'/'.join(path)} has no name in a PyTorch state dict; known are {known}"
        )
    return ".".join([*modules, ARRAYS[collection, array]])


def _axes(path: tuple[str, ...], ndim: int) -> list[int]:
    """Those of our array in PyTorch's order."""
    axes = list(range(ndim))
    return [axes[-1], axes[-2], *axes[:-2]] if path[-1] == "kernel" else axes


def _sibling(name: str, array: str) -> str:
    return f"{name.rpartition('.')[0]}.{array}"


def write(spec: str, path: str | os.PathLike) -> dict[str, int | str]:
    """Writes a run's checkpoint as a file, which is read back before it has its name.

    Its metadata are those of other exports, and under `CARD` the checkpoint's card.

    Args:
      spec: of `aemjax.train.checkpoint.load`.

    Returns:
      "file", "bytes", and how many "tensors" there are.

    Raises:
      ValueError: if there is no such checkpoint, it was trained for integers, its arrays
        have no names in PyTorch, are not its model's or not finite, or the file is there
        already.
    """
    with new_file(path) as partial:
        metadata = read_network(spec).metadata
        weights, card, _ = load(spec)
        state = to_state_dict(weights)
        about = {CARD: json.dumps(dataclasses.asdict(card))}
        # Not by `save_file`, whose files only their owner may read.
        partial.write_bytes(save(state, metadata | about))
        found = flatten_dict(read(partial, card.model))
        for key, array in flatten_dict(weights).items():
            if found[key].tobytes() != np.asarray(array).tobytes():
                raise ValueError(
                    f"{'/'.join(key)} of {spec} is not what was read back from {path}; "
                    "nothing is written"
                )
    return {
        "file": str(path),
        "bytes": Path(path).stat().st_size,
        "tensors": len(state),
    }


def read(path: str | os.PathLike, model_kwargs: Mapping[str, Any]) -> PyTree:
    """The variables of a model from a file, {"params", "batch_stats"}, as NumPy arrays.

    Args:
      model_kwargs: of `aemjax.models.create`.

    Raises:
      ValueError: if it is no safetensors file, or as `from_state_dict`.
    """
    model = create(**model_kwargs)
    like = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, INIT_SAMPLES)))
    )
    return from_state_dict(_open(path)[0], like, what=str(path))


def _open(path: str | os.PathLike) -> tuple[StateDict, dict[str, str]]:
    """What a file holds, and its metadata."""
    try:
        with safe_open(path, framework="numpy") as file:
            return file.get_tensors(), file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"{path} cannot be read as a safetensors file: {error}; in PyTorch, "
            "safetensors.torch.save_file(network.state_dict(), FILE) makes one"
        ) from error


def import_file(
    path: str | os.PathLike,
    out: str | AnyPath,
    *,
    model: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    multi_label: bool = False,
) -> Card:
    """Makes a run's folder of a file: a checkpoint at step 0, for everything else to load.

    A file of `write` says itself what it is; of any other, the arguments do.

    Args:
      out: a folder to make.
      model: of `aemjax.models.create`, all but `num_classes`.
      labels: class names, in the order of the logits.
      multi_label: whether a clip has several labels.

    Returns:
      The checkpoint's card.

    Raises:
      ValueError: if the folder is there already, the file says what it is and arguments
        do too, neither does, labels are twice there, or as `read`.
    """
    out = as_path(out)
    if out.exists():
        raise ValueError(f"{out} exists; remove it, or choose another --out")
    stored = _open(path)[1].get(CARD)
    if stored and (model or labels or multi_label):
        raise ValueError(
            f"{path} says itself what it is; leave out its model (--model, --llf, "
            "--width, --head), --labels and --multi-label"
        )
    card = (
        _stored_card(stored, path)
        if stored
        else _new_card(path, model, labels, multi_label)
    )
    variables = read(path, card.model)
    state = TrainState(
        step=np.int32(0),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state={"count": np.int32(0)},  # none; but Orbax saves no empty item
    )
    with Checkpoints(out) as checkpoints:
        checkpoints.save(state, card)
    return card


def _stored_card(text: str, path: str | os.PathLike) -> Card:
    try:
        card = Card(**json.loads(text))
        inspect.signature(create).bind(**card.model)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its {CARD} is not one of ours: {error}") from error
    # Where averaged weights were the best, it is they that the file holds.
    return dataclasses.replace(card, metric=card.metric.removeprefix("ema_"))


def _new_card(
    path: str | os.PathLike,
    model: Mapping[str, Any] | None,
    labels: Sequence[str],
    multi_label: bool,
) -> Card:
    if not ((model or {}).get("name") and labels):
        raise ValueError(
            f"{path} does not say what it is: name its model (--model) and its labels "
            "(--labels, a file)"
        )
    if blank := [i for i, label in enumerate(labels, start=1) if not label.strip()]:
        raise ValueError(
            f"label {blank[0]} of {len(labels)} is blank, expected a name; remove its line "
            "from --labels"
        )
    if len(set(labels)) < len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise ValueError(f"labels are there twice: {', '.join(twice[:10])}")
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(create).parameters.items()
        if parameter.default is not parameter.empty
    }
    return Card(
        model=defaults | dict(model) | {"num_classes": len(labels)},
        sample_rate=SAMPLE_RATE,
        labels=list(labels),
        multi_label=multi_label,
        metric="mAP" if multi_label else "accuracy",
        commit="unknown",
        data={"dataset": "unknown", "fingerprint": "unknown"},
    )
