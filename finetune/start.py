"""What fine-tuning runs start from: a pretrained embedder, a pruned network, or nothing."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax.audio.read import SAMPLE_RATE
from aemjax.compress import pruning
from aemjax.data.folders import as_path
from aemjax.data.splits import Division
from aemjax.train import checkpoint, sharding, side_by_side, workdir
from aemjax.train.masks import apply_masks
from aemjax.train.recipe import Recipe
from aemjax.train.state import TrainState, with_ema

PyTree = Any

# Of config.prune.start, beside a step: what a pruned network goes on from.
REWOUND, KEPT = "init_from", "run"
# Of config.data, what decides which clips a fold trains on.
DIVIDED_BY = (
    *("protocol", "folds", "split_seed", "grouped", "train", "eval"),
    "validation_share",
)


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
        return f"fold{self.division.number}_seed{self.seed}"


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


def read_start(config: ConfigDict, shapes: PyTree) -> Start:
    """What `init_from` names, for a model of these shapes.

    Raises:
      ValueError: if it does not fit, or a rate is one that needs it.
    """
    goes_on = bool(config.prune.run) and config.prune.start != REWOUND
    if goes_on and config.init_from:
        raise ValueError(
            f"prune.start is {config.prune.start!r}, so {config.prune.run} is gone on "
            f"from, not init_from, {config.init_from}; leave one out"
        )
    if goes_on:
        return Start(config, None, None)
    if not config.init_from:
        for name, value in (("lr_fraction", 1), ("unfreeze_fraction", 0)):
            if (found := config.optimizer[name]) != value:
                raise ValueError(
                    f"optimizer.{name} is {found}, but there is no init_from: training "
                    f"from scratch needs {name} {value}; or name a pretraining run with "
                    "--config.init_from=WORKDIR"
                )
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
    logging.info("starting from step %d of %s", step, config.init_from)
    return Start(config, weights, step)


def check_pruning(
    config: ConfigDict, runs: Sequence[Run], params: PyTree, *, fingerprint: str
) -> None:
    """Refuses what `config.prune` names that is not there, or does not fit.

    Args:
      fingerprint: of the prepared set.

    Raises:
      ValueError: naming it.
    """
    prune = config.prune
    if not prune.run:
        if prune.sparsity:
            raise ValueError(
                f"prune.sparsity is {prune.sparsity}, but there is no prune.run: name "
                "the fine-tuning run whose weights say what goes"
            )
        return
    if not prune.sparsity:
        raise ValueError(
            f"prune.run is {prune.run!r} and prune.sparsity 0: give the share of all "
            "parameters to prune, such as 0.6"
        )
    zeros = pruning.count_zeros(params, prune.sparsity)
    logging.info("%d parameters are pruned", zeros)
    if prune.scope not in pruning.SCOPES:
        raise ValueError(
            f"prune.scope is {prune.scope!r}; known: {', '.join(pruning.SCOPES)}"
        )
    if prune.start not in (REWOUND, KEPT) and not prune.start.isdecimal():
        raise ValueError(
            f"prune.start is {prune.start!r}; expected {REWOUND!r}, {KEPT!r} or a step"
        )
    _check_same_data(config, fingerprint)
    for run in runs:
        weights, _, _ = checkpoint.load(_spec(prune.run, run))
        checkpoint.merge({"params": params}, {"params": weights["params"]}, (".*",))
        if prune.start.isdecimal():
            checkpoint.load(_spec(prune.run, run, step=prune.start))


def _check_same_data(config: ConfigDict, fingerprint: str) -> None:
    """Refuses a run whose folds trained on what is evaluated here."""
    folder, _ = checkpoint.split_spec(config.prune.run)
    workdir.read_results(folder)
    pruned = workdir.read_config(folder)["config"]
    found, wanted = (
        {f"data.{key}": about["data"].get(key) for key in DIVIDED_BY}
        | {"data_fingerprint": about["data_fingerprint"]}
        for about in (pruned, config.to_dict() | {"data_fingerprint": fingerprint})
    )
    if found != wanted:
        raise ValueError(
            f"{folder} divided its data in another way; "
            + workdir.difference(found, wanted, "prune.run", "this run")
        )


def _spec(pruned: str, run: Run, *, step: str = "") -> str:
    """What `checkpoint.load` takes of the run of the same fold and seed."""
    folder, which = checkpoint.split_spec(pruned)
    which = step or which
    return str(as_path(folder) / run.name) + (f"@{which}" if which else "")


def starting_state(
    start: Start, how: Recipe, runs: Sequence[Run], mesh: Mesh
) -> TrainState:
    """The state of the runs at step 0, side by side if there are several."""
    state = how.create_state()
    if start.weights is None and not start.config.prune.run:
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
    prune = config.prune
    if not prune.run:
        return weights
    trained, _, _ = checkpoint.load(_spec(prune.run, run))
    zeros = pruning.count_zeros(trained["params"], prune.sparsity)
    masks = pruning.magnitude_masks(trained["params"], zeros=zeros, scope=prune.scope)
    if prune.start == KEPT:
        weights = trained
    elif prune.start != REWOUND:
        weights, _, _ = checkpoint.load(_spec(prune.run, run, step=prune.start))
    params = apply_masks(weights["params"], masks)
    return weights | {"params": params, "masks": masks}
