"""The two front ends of Galindo-Meza 2021 (Table 5), by the time that they take.

Of AemNet and AemNet-DW, on batches that lie on the device: the training step with
checkpoint #1's recipe, and scoring. Both front ends are timed in turn. What they do for the
score is in docs/results/llf.md.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping

import jax

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.models.compiling import jit_network
from aemjax.models.summary import summarize
from benchmarks.parity import random_variables
from benchmarks.training import JaxSide

FRONT_ENDS = ("llf1", "llf2")
NETWORKS = ("aemnet", "aemnet_dw")
CLASSES = 527  # of the recipe
SECONDS_TIMED = 1.0  # about so long is one turn


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured."""

    widths: tuple[float, ...] = (0.25, 1.0)
    seconds: float = 1.0
    batch: int = 16


SMOKE = Sizes(widths=(0.125,), seconds=0.2)


def run(*, repeats: int, smoke: bool = False) -> list[dict]:
    """Prints and returns a row for each network."""
    sizes = SMOKE if smoke else Sizes()
    rows = []
    for name in NETWORKS:
        for width in sizes.widths:
            rows.append(measure({"name": name, "width": width}, sizes, repeats))
            print(describe(rows[-1]), flush=True)
    return rows


def measure(model: Mapping, sizes: Sizes, repeats: int) -> dict:
    """The row of one network: of the second front end over the first."""
    training, scoring, macs = {}, {}, {}
    for frontend in FRONT_ENDS:
        network = dict(model, frontend=frontend)
        training[frontend] = _training(network, sizes)
        network["num_classes"] = CLASSES
        scoring[frontend] = _scoring(network, sizes)
        macs[frontend] = summarize(
            models.create(**network), n_samples=round(sizes.seconds * SAMPLE_RATE)
        ).total_macs
    first, second = FRONT_ENDS
    return {
        "network": f"{model['name']} {model['width']}",
        "clips": f"{sizes.batch} x {sizes.seconds:g} s",
        "llf2 / llf1": {
            "time of a training step": _ratio(training, repeats),
            "time of scoring": _ratio(scoring, repeats),
            "multiply-adds": round(macs[second] / macs[first], 2),
        },
    }


def describe(row: Mapping) -> str:
    """A row as a line."""
    ratios = ", ".join(
        f"{name} {ratio:.2f}" for name, ratio in row["llf2 / llf1"].items()
    )
    return f"{row['network']:<14} {row['clips']}: llf2 / llf1, {ratios}"


def _training(network: Mapping, sizes: Sizes) -> Callable[[int], float]:
    side = JaxSide()
    case = {"model": network, "seconds": sizes.seconds, "batch": sizes.batch}
    side.prepare(case | {"dtype": "float32", "augmented": True})
    return side.time


def _scoring(network: Mapping, sizes: Sizes) -> Callable[[int], float]:
    weights = random_variables(**network)
    audio = jax.random.normal(
        jax.random.key(0), (sizes.batch, round(sizes.seconds * SAMPLE_RATE))
    )
    score = jit_network(lambda w, x: models.create(**network).apply(w, x, train=False))
    jax.block_until_ready(score(weights, audio))

    def timed(passes: int) -> float:
        start = time.perf_counter()
        for _ in range(passes):
            logits = score(weights, audio)
        jax.block_until_ready(logits)
        return (time.perf_counter() - start) / passes

    return timed


def _ratio(timed: Mapping[str, Callable[[int], float]], repeats: int) -> float:
    """Median over turns of the second's time over the first's."""
    passes = {
        name: max(1, round(SECONDS_TIMED / time_of(2)))
        for name, time_of in timed.items()
    }
    ratios = []
    for _ in range(repeats):
        first, second = (timed[name](passes[name]) for name in FRONT_ENDS)
        ratios.append(second / first)
    return round(statistics.median(ratios), 2)
