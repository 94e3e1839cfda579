"""A checkpoint -> a file for an engine, which is run before the file has its name."""

import importlib
import os
from pathlib import Path

import numpy as np

from aemjax.export import check
from aemjax.export.graph import read_network

# Format -> the module with its `write` and `Engine`.
FORMATS = {
    "onnx": "aemjax.export.onnx_file",
    "stablehlo": "aemjax.export.stablehlo_file",
}


def export_checkpoint(
    spec: str,
    out: str | Path,
    *,
    format: str,
    standardize: bool = False,
    batches: list[np.ndarray] | None = None,
) -> dict[str, int | float | str]:
    """Writes `out`; returns what it is, and how near the engine comes to the model.

    Args:
      spec: of `aemjax.train.checkpoint.load`.
      format: of `FORMATS`.
      standardize: of `read_network`.
      batches: audio "b t" to try beside noise of several lengths.

    Raises:
      ValueError: on another format, no such checkpoint, a file that is there already, or
        outputs that differ; no file is left then.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    out = Path(out)
    if out.exists():
        raise ValueError(f"{out} exists; remove it, or choose another --out")
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent} is no folder; make it first")
    engine = importlib.import_module(FORMATS[format])
    network = read_network(spec, standardize=standardize)
    audio = check.random_audio() + (batches or [])
    if standardize:  # which it must undo
        audio = [0.03 * clips + 0.2 for clips in audio]
    partial = out.with_name(f"{out.name}.incomplete")
    try:
        engine.write(network, partial)
        worst = check.check(
            network,
            engine.Engine(partial),
            audio,
            what=f"{format} of {spec}",
        )
        os.rename(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return {
        "file": str(out),
        "bytes": out.stat().st_size,
        "largest difference of logits": worst,
    }
