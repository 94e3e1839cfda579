"""Latency of one clip on one thread of one core: engines against PyTorch.

All have the same random weights, and outputs that were compared with Flax's before.
PyTorch's time is the best of its networks as they are, traced, and compiled, which takes a
C++ compiler. A file for LiteRT is of the one length that is measured.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from absl import logging

from aemjax.export.check import TOLERANCE
from benchmarks.parity import (
    FILES,
    NAMES,
    Engine,
    make_engine,
    need_pytorch,
    pytorch_engine,
    pytorch_network,
    random_run,
    read_networks,
    synthetic_clips,
)

NETWORKS = {
    "aemnet_dw 0.5 llf2": {
        "name": "aemnet_dw",
        "width": 0.5,
        "frontend": "llf2",
        "num_classes": 10,
    },
    "aemnet_dw 2.0": {"name": "aemnet_dw", "width": 2.0, "num_classes": 50},
    "aemresnet 1.0": {"name": "aemresnet", "width": 1.0, "num_classes": 50},
}
LENGTHS_S = (1, 10)
SECONDS = 0.3  # that an engine is called for, in turn with the others
CALIBRATION_CLIPS = 8
PYTORCH = "PyTorch"
RATIO = "PyTorch / engine"

ONE_THREAD = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def run(*, repeats: int) -> list[dict]:
    """Prints and returns a row for each network, length and engine.

    Raises:
      ImportError: if PyTorch is not installed.
    """
    need_pytorch()
    rows = []
    for name in NETWORKS:
        for row in rows_of_one_thread("benchmarks.latency", name, repeats):
            rows.append({"network": name} | row)
            print(
                f"{name:<18} {row['seconds']:>2} s: PyTorch / {row['engine']:<20} = "
                f"{row[RATIO]:.2f}",
                flush=True,
            )
    for best in summarize(rows):
        print(best)
    return rows


def rows_of_one_thread(module: str, name: str, repeats: int) -> list[dict]:
    """What `python -m module name repeats` prints as JSON.

    In a process that has one core and, when its libraries start, one thread.
    """
    with tempfile.TemporaryDirectory() as cache, _one_core():
        output = subprocess.run(
            [sys.executable, "-m", module, name, str(repeats)],
            env=os.environ | ONE_THREAD | {"TORCHINDUCTOR_CACHE_DIR": cache},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    return json.loads(output)


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """For this thread and the processes that it starts."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def summarize(rows: list[dict]) -> list[str]:
    """The best engine of each network and length, of all and of those in float32."""
    found = {}
    for row in rows:
        if not row["engine"].startswith(PYTORCH):
            found.setdefault((row["network"], row["seconds"]), []).append(row)
    lines = []
    for (network, seconds), engines in found.items():
        floats = [row for row in engines if "same top-1" not in row]
        best, best_float = (
            max(among, key=lambda row: row[RATIO]) for among in (engines, floats)
        )
        lines.append(
            f"best of {network}, {seconds} s: {best['engine']}, {best[RATIO]:.2f}; in "
            f"float32: {best_float['engine']}, {best_float[RATIO]:.2f}"
        )
    return lines


def measure(model: Mapping, seconds: float | int, repeats: int) -> list[dict]:
    """The rows of a network and a length, in this process.

    Args:
      model: of `aemjax.models.create`.

    Raises:
      ValueError: if an engine of floats has other outputs than Flax.
    """
    rng = np.random.default_rng(0)
    (audio,) = synthetic_clips(rng, 1, seconds)
    calibration = synthetic_clips(rng, CALIBRATION_CLIPS, seconds)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        spec = random_run(folder / "run", **model)
        networks = read_networks(spec, calibration)
        engines = {"Flax": networks["float32"]}
        for format, dtype in FILES:
            if format == "stablehlo":  # JAX again
                continue
            engines[f"{NAMES[format]} {dtype}"] = make_engine(
                networks[dtype], format, folder, seconds, calibration, threads=1
            )
        for kind, function in pytorch_networks(spec, audio).items():
            engines[f"{PYTORCH} {kind}"] = pytorch_engine(function)
        about = compare(engines, audio)
        times = {name: [] for name in engines}
        for _ in range(repeats):
            for name, engine in engines.items():
                times[name].append(_time(engine, audio))
    found = ratios(times)
    return [
        {"seconds": seconds, "engine": name} | found[name] | about[name]
        for name in engines
    ]


def pytorch_networks(spec: str, audio: np.ndarray) -> dict[str, Callable]:
    """A network as it is, traced, and compiled, on one thread.

    Args:
      spec: of `aemjax.train.checkpoint.load`.
      audio: "b t", such as they will run on.
    """
    import torch
    from torch._inductor import config

    torch.set_num_threads(1)
    network, example = pytorch_network(spec), torch.from_numpy(audio)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that compiling is preferred
        traced = torch.jit.freeze(torch.jit.trace(network, example))
        traced = torch.jit.optimize_for_inference(traced)
    config.freezing = True  # weights are constants, BatchNorm folded into them
    compiled = torch.compile(network, dynamic=False)
    return {"eager": network, "traced": traced, "compiled": compiled}


def compare(engines: Mapping[str, Engine], audio: np.ndarray) -> dict[str, dict]:
    """How the logits of each engine differ from those of the first, Flax.

    Raises:
      ValueError: if those of floats do by more than 1e-4.
    """
    expected, *_ = next(iter(engines.values()))(audio)
    found = {}
    for name, engine in engines.items():
        logits, *_ = engine(audio)
        difference = float(abs(logits - expected).max())
        found[name] = {"difference from Flax": difference}
        if name.endswith("int8"):
            found[name]["same top-1"] = bool(logits.argmax() == expected.argmax())
        elif not difference <= TOLERANCE:
            raise ValueError(
                f"logits of {name} differ from Flax's by {difference:.3g}, more than "
                f"{TOLERANCE}: it does other work"
            )
    return found


def _time(engine: Engine, audio: np.ndarray) -> float:
    """The median of calls, after one that fills the caches."""
    engine(audio)
    found, end = [], time.perf_counter() + SECONDS
    while not found or time.perf_counter() < end:
        start = time.perf_counter()
        engine(audio)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def ratios(times: Mapping[str, list[float]]) -> dict[str, dict]:
    """Medians over measurements in turn, so that a drifting machine cancels out.

    Args:
      times: seconds of each engine; the peer of all is the best of PyTorch's.
    """
    medians = {name: statistics.median(values) for name, values in times.items()}
    peer = min((x for x in times if x.startswith(PYTORCH)), key=medians.get)
    found = {}
    for name, values in times.items():
        each = [a / b for a, b in zip(times[peer], values, strict=True)]
        found[name] = {
            "peer": peer,
            RATIO: round(statistics.median(each), 3),
            "ratios": [round(ratio, 3) for ratio in each],
            "ms": round(1000 * medians[name], 3),
        }
    return found


if __name__ == "__main__":
    logging.set_verbosity(logging.ERROR)
    found = [
        row
        for length in LENGTHS_S
        for row in measure(NETWORKS[sys.argv[1]], length, int(sys.argv[2]))
    ]
    print(json.dumps(found))
