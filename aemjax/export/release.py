"""A checkpoint -> a folder to pass on, which `aemjax.load` reads (`aemjax.serve.release`)."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from aemjax.export import model_card
from aemjax.models import create
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.serve.release import CARD, README, read_network, write_network
from aemjax.train.card import Card
from aemjax.train.checkpoint import load, split_spec
from aemjax.train.workdir import difference

PyTree = Any

USE = """
```python
import aemjax

classifier = aemjax.load("this folder")
classifier.classify(waveform)  # [(label, probability), ...]
classifier.embed(waveform)  # float32
```
"""


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """What to write into: it is named `path` if nothing is raised, and else removed.

    Raises:
      ValueError: if the folder is there already, or is being written.
    """
    path = Path(path)
    if path.exists():
        raise ValueError(f"{path} exists; remove it, or choose another --out")
    partial = path.with_name(f"{path.name}.incomplete")
    if partial.exists():
        raise ValueError(
            f"{partial} exists: it is being written now, or what did so was killed; "
            "remove it, or choose another --out"
        )
    partial.mkdir(parents=True)
    try:
        yield partial
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write(spec: str, out: str | os.PathLike) -> dict[str, int | str]:
    """Writes weights, card and README.md; they are read back before they have their name.

    Args:
      spec: of `aemjax.train.checkpoint.load`.
      out: folder to make.

    Returns:
      "folder", "step", "bytes" in all.

    Raises:
      ValueError: if there is no such checkpoint, its arrays are not its model's or not
        finite, or the folder is there already.
    """
    with new_folder(out) as partial:
        weights, card, step = load(spec)
        _check_arrays(weights, card, spec)
        write_network(partial, weights, card, step)
        scores = model_card.find_scores(split_spec(spec)[0], card, step)
        text = model_card.text(
            weights["params"], card, step, scores, use=USE, labels_in=CARD
        )
        (partial / README).write_text(text)
        found = flatten_dict(read_network(partial)[0])
        for key, array in flatten_dict(weights).items():
            if found[key].tobytes() != np.asarray(array).tobytes():
                raise ValueError(
                    f"{'/'.join(key)} of {spec} is not what was read back from {out}; "
                    "nothing is written"
                )
        size = sum(file.stat().st_size for file in partial.iterdir())
    return {"folder": str(out), "step": step, "bytes": size}


def _check_arrays(weights: PyTree, card: Card, spec: str) -> None:
    """Here once, as it takes the time of several loads."""
    model = create(**card.model)
    audio = jax.ShapeDtypeStruct((1, FRAME_SAMPLES), jnp.float32)
    wanted = _shapes(jax.eval_shape(model.init, jax.random.key(0), audio))
    if (found := _shapes(weights)) != wanted:
        raise ValueError(
            f"{spec} does not fit its model; "
            + difference(found, wanted, "the checkpoint", "the model")
        )


def _shapes(tree: PyTree) -> dict[str, str]:
    flat = flatten_dict(tree)
    return {"/".join(path): f"{x.dtype} {list(x.shape)}" for path, x in flat.items()}
