"""A checkpoint -> a file for an engine, which is run before the file has its name."""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from aemjax.audio.read import SAMPLE_RATE
from aemjax.data.folders import locked
from aemjax.export import check, model_card
from aemjax.export.engines import ENGINES
from aemjax.export.graph import Network, read_network
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.train.checkpoint import load, split_spec

# Format -> the module with its `quantize`: the others have no integers.
INTEGERS = {"onnx": "aemjax.export.onnx_int8", "litert": "aemjax.export.litert_int8"}
SET_LENGTHS = ("litert",)  # their files take audio of those lengths alone
PYTORCH = "pytorch"  # weights alone: there is no engine to run
MODULES = ENGINES | {PYTORCH: "aemjax.export.pytorch_file"}
FORMATS = tuple(MODULES)


@contextlib.contextmanager
def new_file(path: str | os.PathLike) -> Iterator[Path]:
    """What to write to: it is named `path` if nothing is raised, and else removed.

    Raises:
      ValueError: if the file is there already or being written, or its folder is not there.
    """
    path = Path(path)
    _check_absent(path)
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is no folder; make it first")
    partial = path.with_name(f"{path.name}.incomplete")
    with locked(path):
        _check_absent(path)  # another may have written it just now
        try:
            yield partial
            os.rename(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _check_absent(path: Path) -> None:
    if path.exists():
        raise ValueError(f"{path} exists; remove it, or choose another --out")


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

    PyTorch's is read back instead, and must hold the same bits. Beside it is a page for
    readers, of its name and ".md".

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
    if format == PYTORCH and (standardize or batches):
        raise ValueError(
            f"a file of {PYTORCH} holds weights, which nothing is run on; leave out "
            "--standardize and --data"
        )
    module = importlib.import_module(MODULES[format])
    with new_file(f"{out}.md") as page:
        if format == PYTORCH:
            about = module.write(spec, out)
        else:
            with new_file(out) as partial:
                network = read_network(
                    spec, standardize=standardize, dtype=dtype, calibration=calibration
                )
                module.write(network, partial, **_lengths(seconds))
                audio = _audio(batches, seconds, standardize)
                if network.integers is not None:
                    integers = importlib.import_module(INTEGERS[format])
                    integers.quantize(partial, network.integers, calibration=audio)
                found = _check(
                    network, module.Engine(partial), audio, f"{format} of {spec}"
                )
            about = {"file": str(out), "bytes": Path(out).stat().st_size} | found
        page.write_text(_page(module, spec, Path(out).name, standardize, seconds))
    return about


def _lengths(seconds: Sequence[int | float]) -> dict[str, Sequence[int | float]]:
    return {"seconds": seconds} if seconds else {}


def _audio(
    batches: Sequence[np.ndarray], seconds: Sequence[int | float], standardize: bool
) -> list[np.ndarray]:
    """What a file is tried on."""
    audio = _noise(seconds)
    audio += check.of_lengths(batches, seconds) if seconds else batches
    if standardize:  # which it must undo
        audio = [0.03 * clips + 0.2 for clips in audio]
    return audio


def _check(
    network: Network, run: Callable, audio: Sequence[np.ndarray], what: str
) -> dict[str, float]:
    if network.integers is None:
        worst = check.check(network, run, audio, what=what)
        return {"largest difference of logits": worst}
    share = check.check_integers(network, run, audio, what=what)
    return {"relative difference of logits": share}


def _page(
    module: ModuleType,
    spec: str,
    name: str,
    standardize: bool,
    seconds: Sequence[int | float],
) -> str:
    weights, card, step = load(spec)
    signature = f"samples_{round(seconds[0] * SAMPLE_RATE)}" if seconds else ""
    use = module.USE.format(file=name, signature=signature)
    if not standardize:
        use += "\nEach clip must have mean 0 and deviation 1.\n"
    scores = model_card.find_scores(split_spec(spec)[0], card, step)
    return model_card.text(
        weights["params"],
        card,
        step,
        scores,
        use=use,
        labels_in="the file's metadata",
        scored="Of the network, before it was written as a file; `aemjax evaluate` scores "
        "the file itself, where an engine runs it.",
    )


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
