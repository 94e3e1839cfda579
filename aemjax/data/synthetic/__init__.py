"""Synthetic twins: generated audio in the official folder layout of a dataset.

They stand in for the real datasets in tests, demos and first steps: what reads the
official folder reads its twin. One module per dataset; each exposes
`write(folder, *, clips, seed, workers, **options)`.
"""

import inspect
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aemjax.data.synthetic import (
    audioset,
    covid19sounds,
    dcase2013,
    esc50,
    icbhi2017,
    manifest,
    tau2020,
    urbansound8k,
)

TWINS: dict[str, Callable[..., None]] = {
    "audioset": audioset.write,
    "covid19sounds": covid19sounds.write,
    "dcase2013": dcase2013.write,
    "esc50": esc50.write,
    "icbhi2017": icbhi2017.write,
    "manifest": manifest.write,
    "tau2020": tau2020.write,
    "urbansound8k": urbansound8k.write,
}
_SHARED = ("folder", "seed", "workers", "clips")


def synthesize(
    name: str,
    out_dir: str | os.PathLike,
    *,
    clips: int | None = None,
    seed: int = 0,
    workers: int = 1,
    **options: Any,
) -> Path:
    """Writes the twin of dataset `name` to the new folder `out_dir`; returns it.

    Equal arguments give byte-identical files, whatever `workers`. Everything is
    written beside `out_dir` and moved there at the end, so what carries the final
    name is complete. With `workers` above 1, worker processes are started by
    "spawn": a script that calls this needs the `if __name__ == "__main__"` guard.

    Args:
        name: one of `TWINS`.
        clips: how many clips in all; None takes the twin's own default.
        options: the twin's own; every twin has `seconds`, see its `write` for others.

    Raises:
        ValueError: for an unknown `name` or option, or as the twin says.
        FileExistsError: if `out_dir` is there and is not an empty folder.
    """
    if name not in TWINS:
        raise ValueError(f"unknown twin {name!r}; known: {sorted(TWINS)}")
    known = [o for o in inspect.signature(TWINS[name]).parameters if o not in _SHARED]
    if unknown := sorted(options.keys() - set(known)):
        raise ValueError(f"the {name} twin has no options {unknown}; it has {known}")
    out_dir = Path(out_dir)
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise FileExistsError(
            f"{out_dir} exists and is not an empty folder; "
            "remove it or choose another out_dir"
        )
    partial = out_dir.with_name(f".{out_dir.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    if clips is not None:
        options["clips"] = clips
    try:
        TWINS[name](partial, seed=seed, workers=workers, **options)
        if out_dir.exists():
            out_dir.rmdir()
        partial.rename(out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out_dir
