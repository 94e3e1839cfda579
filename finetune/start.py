"""What fine-tuning runs start from: a pretrained embedder, a pruned network, or nothing."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax.audio.read import SAMPLE_RATE
from aemjax.data.splits import Division
from aemjax.train import checkpoint, param_groups, sharding, side_by_side, workdir
from aemjax.train.param_groups import Group
from aemjax.train.recipe import Recipe
from aemjax.train.state import TrainState, with_ema
from finetune import compressed

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: by a division, with a seed.

    Attributes:
      index: in the order of all.
    """

    index: int
    division: Division
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return run_name({"fold": self.division.number, "seed": self.seed})


def run_name(run: Mapping[str, Any]) -> str:
    """The same, of one of results.json's runs."""
    return f"fold{run['fold']}_seed{run['seed']}"


@dataclasses.dataclass(frozen=True)
class Start:
    """What every run starts from.

    Attributes:
      config: of the job.
      weights: of `init_from`; None: from scratch.
      step: theirs.
    """

    config: ConfigDict
    weights: PyTree | None
    step: int | None


def read_start(
    config: ConfigDict, shapes: PyTree, groups: Mapping[str, Group]
) -> Start:
    """What `init_from` names, for a model of these shapes.

    Args:
      groups: of its parameters, with their rates.

    Raises:
      ValueError: if it does not fit, a rate is one that needs it, or what is random would
        stay so.
    """
    before = compressed.gone_on_from(config)
    if before and not compressed.rewinds(config):
        if config.init_from:
            raise ValueError(
                f"{before} is gone on from, not init_from, {config.init_from}; leave "
                "one out"
            )
        return Start(config, None, None)
    if not config.init_from:
        for name, value in (("lr_fraction", 1), ("unfreeze_fraction", 0)):
            if (found := config.optimizer[name]) != value:
                raise ValueError(
                    f"optimizer.{name} is {found}, but there is no init_from: training "
                    f"from scratch needs {name} {value}; or name a pretraining run with "
                    "--config.init_from=WORKDIR"
                )
        _check_that_random_trains(shapes["params"], (), groups)
        return Start(config, None, None)
    weights, card, step = checkpoint.load(config.init_from)
    if card.sample_rate != SAMPLE_RATE:
        raise ValueError(
            f"{config.init_from} was trained at {card.sample_rate} Hz, expected "
            f"{SAMPLE_RATE}"
        )
    embedder = ("name", "frontend", "width")
    found, wanted = (
        {key: model[key] for key in embedder} for model in (card.model, config.model)
    )
    if found != wanted:
        raise ValueError(
            f"{config.init_from} is a checkpoint of another model; "
            + workdir.difference(found, wanted, "the checkpoint", "config.model")
        )
    checkpoint.merge(shapes, weights, config.init_patterns)
    if not before:
        _check_that_random_trains(shapes["params"], config.init_patterns, groups)
    logging.info("starting from step %d of %s", step, config.init_from)
    return Start(config, weights, step)


def _check_that_random_trains(
    params: PyTree, loaded: Sequence[str], groups: Mapping[str, Group]
) -> None:
    """Refuses to freeze what no pattern of `init_patterns` loads."""
    names = param_groups.labels(params, groups)
    for path, group in jax.tree_util.tree_leaves_with_path(names):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if groups[group].lr_fraction or any(re.fullmatch(x, name) for x in loaded):
            continue
        raise ValueError(
            f"{name} is random at first and would stay so: group {group!r} has the rate "
            f"0, and init_patterns, {tuple(loaded)}, do not load it; load it, or give it "
            "a rate"
        )


def starting_state(
    start: Start, how: Recipe, runs: Sequence[Run], mesh: Mesh
) -> TrainState:
    """The state of the runs at step 0, side by side if there are several."""
    state = how.create_state()
    if start.weights is None and not compressed.gone_on_from(start.config):
        return state
    fresh = side_by_side.states_of(state, len(runs))
    each = [
        _begin(start, run, own.weights) for run, own in zip(runs, fresh, strict=True)
    ]
    begun = each[0]
    if len(runs) > 1:
        begun = jax.tree.map(lambda *x: np.stack(x), *each)
    state = state.replace(**jax.device_put(begun, sharding.shardings(mesh)[0]))
    return state if state.ema is None else with_ema(state)


def _begin(start: Start, run: Run, fresh: PyTree) -> dict[str, PyTree]:
    """{"params", "batch_stats", "masks"} of one run, from those of a new network."""
    config = start.config
    weights = fresh
    if start.weights is not None:
        weights = checkpoint.merge(fresh, start.weights, config.init_patterns)
    if config.quantize.run:
        return compressed.quantized(config, run.name, weights)
    return compressed.pruned(config, run.name, weights) if config.prune.run else weights
