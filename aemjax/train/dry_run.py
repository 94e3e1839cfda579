"""Tries a job out: what would fail or not fit shows before a day of training."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import jax
from jax.sharding import Mesh

from aemjax.train import chips, compiled
from aemjax.train.recipe import Recipe
from aemjax.train.sharding import global_batch, shardings
from aemjax.train.state import TrainState

STEPS = 4


def dry_run(
    plan: Recipe,
    *,
    batches: Iterator[Mapping],
    evaluate: Callable[[TrainState], object],
    mesh: Mesh,
) -> str:
    """Compiles the step, makes a few, evaluates; writes nothing.

    Args:
      batches: of this process.
      evaluate: a state, on some clips.

    Returns:
      What the step costs, and how fast it went, as text.

    Raises:
      ValueError: on data that cannot be read.
    """
    _, split = shardings(mesh)
    state = plan.create_state()
    parameters = sum(x.size for x in jax.tree.leaves(state.params))
    with contextlib.closing(batches):
        local = next(batches)
        clips = local["mean"].size * jax.process_count()
        batch = global_batch(local, split)
        step = plan.train_step.compile(state, batch)
        state, _ = step(state, batch)
        jax.block_until_ready(state)
        start = time.monotonic()
        for _ in range(STEPS):
            state, scalars = step(state, global_batch(next(batches), split))
        loss = float(scalars["loss"])
        rate = STEPS * clips / (time.monotonic() - start)
    evaluate(state)
    device = mesh.local_devices[0]
    lines = [
        f"{parameters:,} parameters on {mesh.size} devices ({device.device_kind})",
        compiled.cost(step.compiled).table(),
        f"loss {loss:.4f} after {STEPS + 1} steps, {rate:.1f} clips/s, reading included",
    ]
    if peak := chips.peak_flops(device):
        share = rate * plan.flops_per_clip / (peak * mesh.size)
        lines.append(f"{share:.1%} of the chips' peak")
    if in_use := chips.peak_memory_bytes(device):
        lines.append(f"{in_use / 2**30:.2f} GiB of memory in use at most, per device")
    return "\n".join(lines)
