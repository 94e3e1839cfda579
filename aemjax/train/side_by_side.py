"""Several runs that differ in seed and data alone, trained as one.

Their states are stacked, "runs ..." (the step is one for all), their batches too, "b runs
...", so that devices go on sharing the examples. What is measured of one of them is named
"run0/loss", what holds for all "loss".
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from aemjax.train.state import TrainState

AXES = TrainState(step=None, params=0, batch_stats=0, opt_state=0, ema=0, masks=0)


def all_at_once(step: Callable) -> Callable:
    """A train step of all runs from that of one, `step.phased_train_step`.

    It takes the stacked state and batch, and a seed for each run.
    """
    steps = jax.vmap(step, in_axes=(AXES, 1, 0, None), out_axes=(AXES, 0))

    def train_step(state, batch, seeds, teacher=None):
        state, scalars = steps(state, batch, seeds, teacher)
        means = {key: values.mean() for key, values in scalars.items()}
        return state, means | named(
            [{k: v[run] for k, v in scalars.items()} for run in range(len(seeds))]
        )

    return train_step


def stack(states: Sequence[TrainState]) -> TrainState:
    """The state of all runs; they must be at the same step."""
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *states)
    return stacked.replace(step=states[0].step)


def pick(state: TrainState, run: int) -> TrainState:
    """The state of one run."""
    one = jax.tree.map(lambda x: x[run], state.replace(step=()))
    return one.replace(step=state.step)


def states_of(state: TrainState, runs: int) -> list[TrainState]:
    """The state of each of several runs, or of the one, which is not stacked."""
    return [state] if runs == 1 else [pick(state, run) for run in range(runs)]


def named(values: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The values of each run, as those of all."""
    return {
        f"run{run}/{key}": value
        for run, own in enumerate(values)
        for key, value in own.items()
    }


def own(values: Mapping[str, Any], run: int) -> dict[str, Any]:
    """The values of one run, and those that hold for all, from `named` ones.

    A value of its own takes the place of one for all with the same name.
    """
    shared, found = {}, {}
    for key, value in values.items():
        match = re.fullmatch(r"((?:train/|eval/)?)run(\d+)/(.*)", key)
        if match is None:
            shared[key] = value
        elif int(match[2]) == run:
            found[match[1] + match[3]] = value
    return shared | found
