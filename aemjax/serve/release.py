"""Released networks, in folders that need neither a checkpoint library nor an optimiser.

    FOLDER/model.safetensors  arrays by their path: "params/backbone/conv3/kernel"
    FOLDER/card.json          the checkpoint's card, its "step", the "aemjax" version
    FOLDER/README.md          for readers

`aemjax.export.release` writes them.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from aemjax import __version__
from aemjax.train.card import Card

PyTree = Any

WEIGHTS, CARD, README = "model.safetensors", "card.json", "README.md"
# Of the file's metadata: arguments of `create`, so that another network's card is noticed.
MODEL = "model"
# Of what a network is run with.
TYPES = {
    "model": dict,
    "sample_rate": int,
    "labels": list,
    "multi_label": bool,
    "step": int,
}


def is_release(folder: str | os.PathLike) -> bool:
    """Whether a folder holds any of a released network's files."""
    return any((Path(folder) / name).is_file() for name in (WEIGHTS, CARD))


def write_network(
    folder: str | os.PathLike, variables: PyTree, card: Card, step: int
) -> None:
    """Writes weights and card into a folder.

    Args:
      variables: {"params", "batch_stats"}, as NumPy arrays.
    """
    arrays = {
        "/".join(path): np.ascontiguousarray(array)
        for path, array in flatten_dict(variables).items()
    }
    # Not by `save_file`, whose files only their owner may read.
    (Path(folder) / WEIGHTS).write_bytes(save(arrays, {MODEL: _text(card.model)}))
    about = dataclasses.asdict(card) | {"step": step, "aemjax": __version__}
    (Path(folder) / CARD).write_text(json.dumps(about, indent=2) + "\n")


def read_network(folder: str | os.PathLike) -> tuple[PyTree, Card, int]:
    """(variables as NumPy arrays, card, step) of a released network.

    Raises:
      ValueError: if a file is missing or damaged, they are not of one network, or a
        weight is not finite.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} holds no {name}; a release has {WEIGHTS} and {CARD}, copy both"
            )
    card, step = _read_card(folder / CARD)
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as file:
            arrays, metadata = file.get_tensors(), file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"{folder / WEIGHTS} cannot be read: {error}; copy it again"
        ) from error
    if (theirs := metadata.get(MODEL)) != (ours := _text(card.model)):
        raise ValueError(
            f"{folder}: {WEIGHTS} is of another network than {CARD}: {theirs}, not {ours}"
        )
    if broken := sorted(name for name, x in arrays.items() if not np.isfinite(x).all()):
        raise ValueError(
            f"{folder / WEIGHTS} holds values that are not finite, in "
            f"{', '.join(broken[:10])}"
        )
    paths = {tuple(name.split("/")): array for name, array in arrays.items()}
    return unflatten_dict(paths), card, step


def _read_card(path: Path) -> tuple[Card, int]:
    try:
        about = json.loads(path.read_text())
        _check_types(about)
        names = [field.name for field in dataclasses.fields(Card)]
        card, step = Card(**{name: about[name] for name in names}), about["step"]
        classes = card.model["num_classes"]
    # Deeply nested text is the last of these.
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} is no card of ours: {error!r}; copy it again"
        ) from error
    if len(card.labels) != classes:
        raise ValueError(
            f"{path} has {len(card.labels)} labels, its model {classes} classes"
        )
    return card, step


def _check_types(about: dict[str, Any]) -> None:
    for name, kind in TYPES.items():
        if type(about[name]) is not kind:
            raise TypeError(f"{name} is {about[name]!r}, expected {kind.__name__}")
    if (rate := about["sample_rate"]) < 1:
        raise ValueError(f"sample_rate is {rate}, expected 1 or more")
    if names := [label for label in about["labels"] if not isinstance(label, str)]:
        raise TypeError(f"labels hold {names[:3]}, expected text")


def _text(model: dict[str, Any]) -> str:
    return json.dumps(model, sort_keys=True)
