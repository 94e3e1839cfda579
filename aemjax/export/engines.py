"""Exported files in their engines, and what they score."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from aemjax.audio import read
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import by_split
from aemjax.train.evaluate import score

# Format -> the module with its `write` and `Engine`.
ENGINES = {
    "onnx": "aemjax.export.onnx_file",
    "stablehlo": "aemjax.export.stablehlo_file",
    "litert": "aemjax.export.litert_file",
}
SUFFIXES = {".onnx": "onnx", ".zip": "stablehlo", ".tflite": "litert"}


def open_engine(path: str | Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    """The engine of a file, by the end of its name: audio "b t" -> [logits, embedding].

    Raises:
      ValueError: on another end, no such file, or one that `aemjax export` did not
        write.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{path} ends in {path.suffix!r}; an exported file ends in one of "
            f"{', '.join(SUFFIXES)}"
        )
    if not path.exists():
        raise ValueError(
            f"{path} does not exist, expected a file of `aemjax export`; check the path, "
            "or export it first"
        )
    engine = importlib.import_module(ENGINES[SUFFIXES[path.suffix]]).Engine(path)
    if "labels" not in engine.metadata:
        raise ValueError(f"{path} names no labels: `aemjax export` did not write it")
    return engine


def engine_logits(
    engine: Callable, data: PreparedSet, rows: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Logits "n k" of whole clips, each run alone, those of a length one after the other.

    For an engine of set lengths a clip is looped to the shortest that it fits into; one
    longer than all is read in windows of the longest, whose logits are averaged.
    """
    sizes = [int(x) for x in engine.metadata.get("input_samples", "").split(", ") if x]
    standardizes = engine.metadata["input"].startswith("audio in")
    rows = np.asarray(rows)
    order = np.argsort(-data.n_samples[rows], kind="stable")
    found = []
    for row in tqdm.tqdm(rows[order].tolist(), unit="clip", desc="evaluate"):
        audio = read.from_int16(data.read_audio(row))
        if not standardizes:
            audio = read.standardize(audio)
        windows = _windows(audio, sizes) if sizes else [audio]
        found.append(np.mean([engine(x[None])[0][0] for x in windows], axis=0))
    return np.stack(found)[np.argsort(order)]


def _windows(audio: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Windows that cover a clip, the last one ending where it does."""
    if enough := [size for size in sizes if size >= len(audio)]:
        return [np.resize(audio, min(enough))]
    size = max(sizes)
    starts = np.linspace(0, len(audio) - size, -(-len(audio) // size)).astype(int)
    return [audio[start : start + size] for start in starts]


def evaluate_file(
    path: str | Path, data_path: str | Path, *, split: str | None = None
) -> dict[str, Any]:
    """Metrics of an exported file on a prepared set, as its engine runs it.

    Args:
      split: as `splits.by_split` takes it; None: every clip.

    Returns:
      "dataset", "split", "bytes" and `aemjax.train.evaluate.score`'s metrics.

    Raises:
      ValueError: if file and set do not exist or have other labels.
    """
    engine, data = open_engine(path), PreparedSet(data_path)
    data.check_labels(engine.metadata["labels"].split("\n"), str(path))
    rows = np.arange(len(data)) if split is None else by_split(data, split)
    about = {
        "dataset": data.manifest["dataset"],
        "split": split or "all",
        "bytes": Path(path).stat().st_size,
    }
    return about | score(data, rows, engine_logits(engine, data, rows))
