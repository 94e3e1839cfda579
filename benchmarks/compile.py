"""What compiling the training step takes, afresh and from JAX's persistent cache.

    python -m benchmarks compile --write

Every process is new, with the cache in a folder that the first of each pair finds empty.
What is cached is the compiler's work; that of importing, tracing and looking it up is
done every time. Compiling takes about the same whatever the batch, so on a CPU it is
small.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import jax

from benchmarks import training

ON_A_CPU = {"seconds": 1.0, "batch": 4, "dtype": "float32", "augmented": True}
ELSEWHERE = {"seconds": 10.0, "batch": 64, "dtype": "bfloat16", "augmented": True}
TIMES = {"compile_s": "compiling", "process_s": "process of a few steps"}


def run(*, repeats: int, smoke: bool = False) -> list[dict]:
    """Prints and returns a row for each network."""
    rows = []
    for model in [training.SMOKE[0][0]] if smoke else training.MODELS:
        pairs = [pair(model) for _ in range(repeats)]
        rows.append({"network": f"{model['name']} {model['width']}"} | compare(pairs))
        print(describe(rows[-1]), flush=True)
    return rows


def pair(model: Mapping) -> tuple[dict, dict]:
    """Seconds of a process with an empty cache, and of one that finds it filled."""
    with tempfile.TemporaryDirectory() as cache:
        return start(model, cache), start(model, cache)


def start(model: Mapping, cache: str) -> dict:
    """Seconds of compiling the step, and of the whole process."""
    began = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.compile", json.dumps(model)],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    seconds = time.perf_counter() - began
    return {"compile_s": json.loads(output), "process_s": seconds}


def compare(pairs: list[tuple[dict, dict]]) -> dict:
    """Medians of the seconds and of the ratios, warm / cold."""
    row = {}
    for key in TIMES:
        each = [warm[key] / cold[key] for cold, warm in pairs]
        row[key] = round(statistics.median(cold[key] for cold, _ in pairs), 2)
        row[f"{key}, warm / cold"] = round(statistics.median(each), 3)
        row[f"{key}, ratios"] = [round(ratio, 3) for ratio in each]
    return row


def describe(row: Mapping) -> str:
    """A row as a line."""
    line = f"{row['network']:<15}"
    for key, name in TIMES.items():
        line += f" {name}, warm / cold {row[f'{key}, warm / cold']:.2f}"
        line += f" (cold {row[key]:.1f} s);"
    return line.removesuffix(";")


def measure(model: Mapping) -> float:
    """Seconds until the step of this process is compiled; makes three of them."""
    how = ON_A_CPU if jax.default_backend() == "cpu" else ELSEWHERE
    return training.JaxSide().prepare({"model": model} | how)["compile_s"]


if __name__ == "__main__":
    print(measure(json.loads(sys.argv[1])))
