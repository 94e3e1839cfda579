"""A checkpoint -> a file for an engine, which is run before the file has its name."""

import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aemjax.audio.read import SAMPLE_RATE
from aemjax.export import check
from aemjax.export.engines import ENGINES
from aemjax.export.graph import read_network
from aemjax.models.frames import FRAME_SAMPLES

# Format -> the module with its `quantize`: the others have no integers.
INTEGERS = {"onnx": "aemjax.export.onnx_int8", "litert": "aemjax.export.litert_int8"}
SET_LENGTHS = ("litert",)  # their files take audio of those lengths alone
PYTORCH = "pytorch"  # weights alone: there is no engine to run
FORMATS = (*ENGINES, PYTORCH)


@contextlib.contextmanager
def new_file(path: str | os.PathLike) -> Iterator[Path]:
    """What to write to: it is named `path` if nothing is raised, and else removed.

    Raises:
      ValueError: if the file is there already, or its folder is not.
    """
    path = Path(path)
    if path.exists():
        raise ValueError(f"{path} exists; remove it, or choose another --out")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is no folder; make it first")
    partial = path.with_name(f"{path.name}.incomplete")
    try:
        yield partial
        os.rename(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def export_checkpoint(
    spec: str,
    out: str | Path,
    *,
    format: str,
    dtype: str = "float32",
    standardize: bool = False,
    batches: Sequence[np.ndarray] = (),
    calibration: Sequence[np.ndarray] = (),
    seconds: Sequence[int | float] = (),
) -> dict[str, int | float | str]:
    """Writes `out`; returns what it is, and how near the engine comes to the model.

    PyTorch's is read back instead, and must hold the same bits.

    Args:
      spec: of `aemjax.train.checkpoint.load`.
      format: of `FORMATS`.
      dtype, standardize: of `read_network`; "int8" only in formats of `INTEGERS`.
      batches: audio "b t" to try beside noise of several lengths.
      calibration: of `read_network`.
      seconds: lengths of audio that a file of `SET_LENGTHS` takes, which need some; what
        it is tried on is of them. No others take any.

    Raises:
      ValueError: on another format, what that has not, no such checkpoint, a file that is
        there already, or outputs that differ; no file is left then.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    _check_lengths(format, seconds)
    if dtype != "float32" and format not in INTEGERS:
        raise ValueError(
            f"a file of {format} holds float32; those of {', '.join(INTEGERS)} may hold "
            "int8"
        )
    if format == PYTORCH:
        if standardize or batches:
            raise ValueError(
                f"a file of {PYTORCH} holds weights, which nothing is run on; leave out "
                "--standardize and --data"
            )
        return importlib.import_module("aemjax.export.pytorch_file").write(spec, out)
    engine = importlib.import_module(ENGINES[format])
    what = f"{format} of {spec}"
    with new_file(out) as partial:
        network = read_network(
            spec, standardize=standardize, dtype=dtype, calibration=calibration
        )
        audio = _noise(seconds)
        audio += check.of_lengths(batches, seconds) if seconds else batches
        if standardize:  # which it must undo
            audio = [0.03 * clips + 0.2 for clips in audio]
        engine.write(network, partial, **({"seconds": seconds} if seconds else {}))
        if network.integers is not None:
            integers = importlib.import_module(INTEGERS[format])
            integers.quantize(partial, network.integers, calibration=audio)
        run = engine.Engine(partial)
        if network.integers is None:
            worst = check.check(network, run, audio, what=what)
            found = {"largest difference of logits": worst}
        else:
            share = check.check_integers(network, run, audio, what=what)
            found = {"relative difference of logits": share}
    return {"file": str(out), "bytes": Path(out).stat().st_size} | found


def _noise(seconds: Sequence[int | float]) -> list[np.ndarray]:
    """Of each length in three batches, of one to three clips; of several, if any is."""
    lengths = np.repeat(seconds, 3).tolist() if seconds else check.LENGTHS_S
    return check.random_audio(lengths)


def _check_lengths(format: str, seconds: Sequence[int | float]) -> None:
    if seconds and format not in SET_LENGTHS:
        raise ValueError(
            f"only files of {', '.join(SET_LENGTHS)} are for set lengths of audio, not "
            f"those of {format}; leave out --seconds"
        )
    if format in SET_LENGTHS and not seconds:
        raise ValueError(
            f"a file of {format} takes audio of set lengths alone; name them, such as "
            "--seconds 1 or --seconds 1,5,10"
        )
    for length in seconds:
        if not FRAME_SAMPLES <= length * SAMPLE_RATE < float("inf"):
            raise ValueError(
                f"--seconds {length}: a network takes {FRAME_SAMPLES / SAMPLE_RATE} or "
                "more"
            )
