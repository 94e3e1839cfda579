"""How far the logits of exported files are from Flax's, and how often the top class is.

    python -m benchmarks parity --run RUN --data DIR --split SPLIT --write

Each format runs in its engine on one clip at a time, cut or looped to every length, and
PyTorch has the same weights. All are compared with Flax in float32, as is Flax with the
rounding of int8: what an engine of integers is off by beyond that is its own. Integers get
the ranges of clips that are not of the split. `--run` may be there several times; without
it weights are random, and without `--data` clips are synthetic: that tries the engines, but
says little of what integers cost.
"""

import importlib
import importlib.util
import inspect
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE, standardize
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import by_split
from aemjax.export.check import of_lengths, real_audio
from aemjax.export.engines import ENGINES
from aemjax.export.graph import DTYPES, Network, read_network
from aemjax.export.pytorch_file import import_file, to_state_dict
from aemjax.export.write import INTEGERS, SET_LENGTHS
from aemjax.train.checkpoint import load

PyTree = Any
Engine = Callable[[np.ndarray], Sequence[np.ndarray]]

NETWORKS = ("aemnet", "aemnet_dw", "aemresnet")  # of random weights
WIDTH, NUM_CLASSES = 0.25, 10
LENGTHS_S = (0.3, 1.0, 3.7, 10.0)
CLIPS, CLIP_S = 64, 10
CALIBRATION_CLIPS = 128  # as `aemjax export` takes
TRIED_CLIPS = 8  # that quantizers run, though they are told the ranges
NAMES = {"stablehlo": "StableHLO", "onnx": "ONNX Runtime", "litert": "LiteRT"}
FILES = [
    (format, dtype)
    for format in NAMES
    for dtype in DTYPES
    if dtype == "float32" or format in INTEGERS
]


def run(
    *,
    repeats: int,
    runs: Sequence[str] = (),
    data: str | None = None,
    split: str | None = None,
) -> list[dict]:
    """Prints and returns a row for each network, engine, precision and length.

    Args:
      runs: of `aemjax.train.checkpoint.load`; none: networks of random weights.
      data: prepared set; None: synthetic clips.
      split: of `aemjax.data.splits.by_split`, if there is a set.
    """
    del repeats  # nothing is timed
    clips, calibration = _real(data, split) if data else _synthetic()
    if not has_pytorch():
        print("PyTorch is left out: it is not installed")
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        specs = {spec: spec for spec in runs} or {
            f"{name} {WIDTH}, random": random_run(
                folder / name, name=name, width=WIDTH, num_classes=NUM_CLASSES
            )
            for name in NETWORKS
        }
        for name, spec in specs.items():
            for row in measure(spec, clips, calibration):
                rows.append({"network": name} | row)
                print(
                    f"{name}: {row['engine']:<12} {row['precision']:<7} "
                    f"{row['seconds']:>4} s: logits differ by "
                    f"{row['largest difference']:.2g} of {row['largest logit']:.2g} at "
                    f"most, {row['relative difference']:.2g} of their root mean "
                    f"square; top-1 the same in {row['top-1 agreement']:.1%}",
                    flush=True,
                )
    return rows


def _real(path: str, split: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(clips of a split, clips of the rest to find ranges on)."""
    data = PreparedSet(path)
    rows = by_split(data, split)
    rest = np.setdiff1d(np.arange(len(data)), rows)
    return (
        real_audio(data, rows=rows, clips=CLIPS),
        real_audio(data, rows=rest, clips=CALIBRATION_CLIPS),
    )


def _synthetic() -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return (
        synthetic_clips(rng, CLIPS, CLIP_S),
        synthetic_clips(rng, CALIBRATION_CLIPS, CLIP_S),
    )


def synthetic_clips(
    rng: np.random.Generator, clips: int, seconds: float | int
) -> list[np.ndarray]:
    """Standardised clips "1 t": a tone of any pitch in noise of any level."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    found = []
    for _ in range(clips):
        hertz, level = np.exp(rng.uniform(np.log([50, 0.01]), np.log([7000, 10])))
        tone = np.sin(2 * np.pi * hertz * times)
        found.append(standardize(tone + level * rng.normal(size=times.size))[None])
    return found


def random_run(folder: Path, **model) -> str:
    """Makes a run's folder of random weights; its name.

    Args:
      model: of `aemjax.models.create`.
    """
    weights = folder.with_suffix(".safetensors")
    weights.write_bytes(save(to_state_dict(random_variables(**model))))
    labels = [str(i) for i in range(model["num_classes"])]
    import_file(weights, folder, model=model, labels=labels)
    return str(folder)


def random_variables(**model) -> PyTree:
    """Weights that keep logits of the order of 1, with statistics other than 0 and 1."""
    rng = np.random.default_rng(0)
    gain = 1.0 if model["name"] == "aemresnet" else 1.4  # shortcuts add up

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            deviation = gain / np.sqrt(np.prod(leaf.shape[:-1]))
            values = rng.normal(0, deviation, leaf.shape)
        elif name in ("scale", "var"):
            values = rng.uniform(0.6, 1.4, leaf.shape)
        else:
            values = rng.normal(0, 0.2, leaf.shape)
        return values.astype(np.float32)

    audio = jax.ShapeDtypeStruct((1, SAMPLE_RATE), np.float32)
    init = models.create(**model).init
    shapes = jax.eval_shape(init, jax.random.key(0), audio)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def measure(
    spec: str, clips: Sequence[np.ndarray], calibration: Sequence[np.ndarray]
) -> Iterator[dict]:
    """The rows of a network.

    Args:
      spec: of `aemjax.train.checkpoint.load`.
      clips: standardised, "1 t".
      calibration: the same, to find ranges on.
    """
    networks = read_networks(spec, calibration)
    audio = {seconds: of_lengths(clips, [seconds]) for seconds in LENGTHS_S}
    expected = {s: logits(networks["float32"], audio[s]) for s in LENGTHS_S}

    def compare(engine: Engine, name: str, dtype: str, seconds: float | int) -> dict:
        about = {"engine": name, "precision": dtype, "seconds": seconds}
        return about | difference(logits(engine, audio[seconds]), expected[seconds])

    for seconds in LENGTHS_S:  # what rounding alone does
        yield compare(networks["int8"], "Flax", "int8", seconds)
    with tempfile.TemporaryDirectory() as made:
        for format, dtype in FILES:
            engine = None
            for seconds in LENGTHS_S:
                if engine is None or format in SET_LENGTHS:
                    engine = make_engine(
                        networks[dtype], format, Path(made), seconds, calibration
                    )
                yield compare(engine, NAMES[format], dtype, seconds)
    if has_pytorch():
        engine = pytorch_engine(pytorch_network(spec))
        for seconds in LENGTHS_S:
            yield compare(engine, "PyTorch", "float32", seconds)


def read_networks(spec: str, calibration: Sequence[np.ndarray]) -> dict[str, Network]:
    """The network of a checkpoint as each of `DTYPES`.

    Args:
      spec, calibration: of `read_network`.
    """
    return {
        "float32": read_network(spec),
        "int8": read_network(spec, dtype="int8", calibration=calibration),
    }


def make_engine(
    network: Network,
    format: str,
    folder: Path,
    seconds: float | int,
    calibration: Sequence[np.ndarray],
    **options,
) -> Engine:
    """An engine, on a new file.

    Args:
      format: of `ENGINES`.
      seconds: the length that the file takes, where it is of `SET_LENGTHS`.
      calibration: standardised audio "b t".
      options: of the engine.
    """
    module = importlib.import_module(ENGINES[format])
    path = folder / f"{format}_{network.metadata['dtype']}_{seconds}"
    lengths = {"seconds": [seconds]} if format in SET_LENGTHS else {}
    module.write(network, path, **lengths)
    if network.integers is not None:
        importlib.import_module(INTEGERS[format]).quantize(
            path,
            network.integers,
            calibration=of_lengths(calibration[:TRIED_CLIPS], [seconds]),
        )
    return module.Engine(path, **options)


def has_pytorch() -> bool:
    """Whether it is installed: this project does not depend on it."""
    return importlib.util.find_spec("torch") is not None


def need_pytorch() -> None:
    """Raises ImportError where it is not installed."""
    if not has_pytorch():
        raise ImportError(
            "PyTorch, which this project does not depend on, is not installed; `pip "
            "install torch`"
        )


def pytorch_network(spec: str):
    """The network of a checkpoint in PyTorch, for inference.

    Args:
      spec: of `aemjax.train.checkpoint.load`.
    """
    import torch

    from benchmarks import pytorch_aemnet

    weights, card, _ = load(spec)
    known = inspect.signature(pytorch_aemnet.create).parameters
    network = pytorch_aemnet.create(
        **{name: value for name, value in card.model.items() if name in known}
    )
    state = {name: torch.tensor(x) for name, x in to_state_dict(weights).items()}
    network.load_state_dict(state)
    return network.eval()


def pytorch_engine(network: Callable) -> Engine:
    """Audio "b t" -> [logits, embedding], by a network in PyTorch."""
    import torch

    def call(audio: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [x.numpy() for x in network(torch.from_numpy(audio))]

    return call


def logits(engine: Engine, clips: Sequence[np.ndarray]) -> np.ndarray:
    """Those of clips "1 t", each run alone: "n k"."""
    return np.concatenate([engine(clip)[0] for clip in clips])


def difference(found: np.ndarray, expected: np.ndarray) -> dict:
    """What a row says of logits "n k"."""
    squares = np.sum((found - expected) ** 2) / np.sum(expected**2)
    return {
        "clips": len(expected),
        "largest difference": float(abs(found - expected).max()),
        "relative difference": float(np.sqrt(squares)),
        "largest logit": float(abs(expected).max()),
        "top-1 agreement": float(np.mean(found.argmax(1) == expected.argmax(1))),
    }
