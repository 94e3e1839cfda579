"""Evaluating clips of mixed lengths, beside a loop over them one by one.

Ours scores batches of clips of about one length, padded to a few lengths, as
`aemjax.train.evaluate` does. The loop reads a clip, runs the same compiled step on it
alone and waits for the scores: as long as it is, so that every length is compiled, or
padded to the same few lengths; it goes over some clips of all lengths. The first pass
compiles, those after it are measured in turn. All have the same scores. One device,
random weights.
"""

import dataclasses
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from aemjax import models
from aemjax.audio.lengths import bucket_samples
from aemjax.data.pipeline import longest_first
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.synthetic import synthesize
from aemjax.export.check import TOLERANCE
from aemjax.train.evaluate import Evaluator
from aemjax.train.sharding import data_mesh, global_batch, shardings
from aemjax.train.step import jit_eval_step
from benchmarks.parity import random_variables

LOOPS = {"as long as it is": int, "padded to a few lengths": bucket_samples}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of what is measured.

    Attributes:
      clips: breathing cycles of an ICBHI twin, 0.2 to 16 s, about `clip_s`.
      every: so many clips, in the order of their lengths, the loops take one.
      networks: (name, arguments of `aemjax.models.create`).
    """

    clips: int = 640
    clip_s: float = 2.5
    every: int = 10
    batches: Sequence[int] = (8, 32)
    networks: Sequence[tuple[str, Mapping]] = (
        (
            "aemnet_dw 0.25",
            {"name": "aemnet_dw", "width": 0.25, "frontend": "33,16,5,5"},
        ),
        (
            "aemnet_dw 0.5 llf2",
            {"name": "aemnet_dw", "width": 0.5, "frontend": "llf2"},
        ),
    )


SMOKE = Sizes(
    clips=30,
    clip_s=0.3,
    every=2,
    batches=(8,),
    networks=(("aemnet_dw 0.125", {"name": "aemnet_dw", "width": 0.125}),),
)


def run(*, repeats: int, smoke: bool = False) -> list[dict]:
    """Prints and returns a row for each network and loop: ratios of clips/s, ours over it.

    Raises:
      ValueError: if the scores differ.
    """
    sizes = SMOKE if smoke else Sizes()
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        clips = {"clips": sizes.clips, "seconds": sizes.clip_s}
        synthesize("icbhi2017", folder / "twin", **clips)
        prepare("icbhi2017", folder / "twin", folder / "set")
        data = PreparedSet(folder / "set")
        for name, model in sizes.networks:
            for row in measure(data, model, sizes, repeats=repeats):
                rows.append({"network": name} | row)
                print(describe(rows[-1]), flush=True)
    return rows


def measure(
    data: PreparedSet, model: Mapping, sizes: Sizes, *, repeats: int
) -> list[dict]:
    """The rows of one network."""
    model = dict(model, num_classes=len(data.label_names))
    mesh = data_mesh(jax.devices()[:1])
    weights = jax.device_put(random_variables(**model), shardings(mesh)[0])
    network = models.create(**model)
    rows = longest_first(data, np.arange(len(data)))
    some = rows[:: sizes.every]
    ways = {}
    for size in sizes.batches:
        evaluator = Evaluator(network, mesh, batch_size=size)
        ways[size] = functools.partial(evaluator.logits, weights, data, rows)
    for name, padded in LOOPS.items():
        ways[name] = one_by_one(network, mesh, weights, data, some, padded)
    first, scores = {}, {}
    for name, score in ways.items():
        first[name], found = timed(score)
        scores[name] = dict(zip(*found, strict=True))
        difference = max(
            abs(scores[name][i] - scores[sizes.batches[0]][i]).max() for i in some
        )
        if not difference <= TOLERANCE:
            raise ValueError(
                f"logits of {name!r} differ by {difference:.3g}, more than {TOLERANCE}: "
                "it does other work"
            )
    later = {name: [] for name in ways}
    for _ in range(repeats):
        for name, score in ways.items():
            later[name].append(timed(score)[0])
    lengths = data.n_samples[rows]
    return [
        {"batch": size, "loop": loop}
        | summarize(
            lengths,
            lengths[:: sizes.every],
            (first[size], first[loop]),
            list(zip(later[size], later[loop], strict=True)),
            padded,
        )
        for size in sizes.batches
        for loop, padded in LOOPS.items()
    ]


def one_by_one(
    model: models.AemNet,
    mesh: Mesh,
    weights: Mapping,
    data: PreparedSet,
    rows: np.ndarray,
    padded: Callable[[int], int],
) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """() -> (rows, logits "n k"), by the same step as ours.

    Args:
      padded: samples of a clip -> samples that it is padded to.
    """
    step, split = jit_eval_step(mesh, model=model), shardings(mesh)[1]

    def score() -> tuple[np.ndarray, np.ndarray]:
        found = []
        for row in rows.tolist():
            n_samples = int(data.n_samples[row])
            audio = np.zeros((1, padded(n_samples)), np.int16)
            data.read_into(row, 0, audio[0, :n_samples])
            clip = {
                "audio": audio,
                "lengths": np.array([n_samples], np.int32),
                "mean": data.mean[[row]],
                "std": data.std[[row]],
            }
            clip = global_batch(clip, split)
            outputs = step(weights["params"], weights["batch_stats"], clip)
            found.append(np.asarray(outputs["logits"]))
        return rows, np.concatenate(found)

    return score


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, what it returns)"""
    start = time.perf_counter()
    found = function()
    return time.perf_counter() - start, found


def summarize(
    lengths: Sequence[int],
    some: Sequence[int],
    first: tuple[float, float],
    later: Sequence[tuple[float, float]],
    padded: Callable[[int], int],
) -> dict:
    """Ratios, medians over passes in turn, so that a drifting machine cancels out.

    Args:
      lengths, some: in samples, of all clips, which ours scores, and of the loop's.
      first: seconds of ours and of the loop, compiling.
      later: the same without.
      padded: of the loop.
    """
    share = len(some) / len(lengths)
    pass_s, loop_s = map(statistics.median, zip(*later, strict=True))
    each = [loop / share / own for own, loop in later]
    every, compiled = (len({padded(int(n)) for n in part}) for part in (lengths, some))
    compiling = (first[1] - loop_s) * every / compiled
    return {
        "lengths": every,
        "clips/s": round(len(lengths) / pass_s, 1),
        "loop, clips/s": round(len(some) / loop_s, 1),
        "ours / loop": round(statistics.median(each), 3),
        "each": [round(ratio, 3) for ratio in each],
        "compiling / pass, ours": round((first[0] - pass_s) / pass_s, 2),
        "compiling / pass, loop": round(compiling * share / loop_s, 2),
    }


def describe(row: Mapping) -> str:
    """A row as a line."""
    return (
        f"{row['network']:<20} batches of {row['batch']:>2}: {row['clips/s']:6.1f} "
        f"clips/s; the loop, {row['loop']:<24} {row['loop, clips/s']:6.1f}; ours / loop "
        f"= {row['ours / loop']:.2f} {row['each']}; compiling takes "
        f"{row['compiling / pass, ours']:.1f} passes, the loop's {row['lengths']} lengths "
        f"{row['compiling / pass, loop']:.1f}"
    )
