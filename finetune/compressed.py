"""Runs that go on from others, fold by fold: pruned, or trained on in integers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from absl import logging
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from aemjax.compress import pruning
from aemjax.compress.folding import fold
from aemjax.data.folders import as_path
from aemjax.train import checkpoint, workdir
from aemjax.train.masks import apply_masks
from aemjax.train.param_groups import Group

PyTree = Any

# Of config.prune.start, beside a step: what a pruned network goes on from.
REWOUND, KEPT = "init_from", "run"
THIN = 0.01  # share of a kernel that is left, below which pruning warns
# Of config.data, what decides which clips a fold trains on.
DIVIDED_BY = (
    *("protocol", "folds", "split_seed", "grouped", "train", "eval"),
    "validation_share",
)


def gone_on_from(config: ConfigDict) -> str:
    """The run that `config.prune` or `config.quantize` names; "" if neither does.

    Raises:
      ValueError: if both do.
    """
    if config.prune.run and config.quantize.run:
        raise ValueError(
            f"prune.run is {config.prune.run!r} and quantize.run {config.quantize.run!r}: "
            "prune first, then quantise what came of it"
        )
    return config.prune.run or config.quantize.run


def rewinds(config: ConfigDict) -> bool:
    """Whether what is left of a pruned network goes back to `init_from`."""
    return bool(config.prune.run) and config.prune.start == REWOUND


def check(
    config: ConfigDict,
    runs: Iterable[str],
    params: PyTree,
    groups: Mapping[str, Group],
    *,
    fingerprint: str,
) -> None:
    """Refuses what `config` goes on from if it is not there, or does not fit.

    Args:
      runs: their names.
      params: of the model, or their shapes.
      groups: of parameters, with their rates.
      fingerprint: of the prepared set.

    Raises:
      ValueError: naming it.
    """
    before = gone_on_from(config)
    if config.prune.sparsity and not config.prune.run:
        raise ValueError(
            f"prune.sparsity is {config.prune.sparsity}, but there is no prune.run: name "
            "the fine-tuning run whose weights say what goes"
        )
    if not before:
        return
    if config.prune.run:
        _check_options(config.prune, params)
    if config.quantize.run and (
        frozen := [name for name, group in groups.items() if group.frozen_at(0)]
    ):
        raise ValueError(
            f"quantize.run is {before!r}, but {', '.join(frozen)} would be frozen at "
            "first: the ranges of activations follow those that train; give every "
            "group a rate, from the first step on"
        )
    _check_same_data(before, config, fingerprint)
    for name in runs:
        weights = load(before, name)
        found = fold(weights) if config.quantize.run else weights["params"]
        checkpoint.merge({"params": params}, {"params": found}, (".*",))
        if config.prune.run and config.prune.start.isdecimal():
            load(before, name, step=config.prune.start)


def _check_options(prune: ConfigDict, params: PyTree) -> None:
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


def _check_same_data(before: str, config: ConfigDict, fingerprint: str) -> None:
    """Refuses a run whose folds trained on what is evaluated here."""
    folder, _ = checkpoint.split_spec(before)
    workdir.read_results(folder)
    earlier = workdir.read_config(folder)["config"]
    found, wanted = (
        {f"data.{key}": about["data"].get(key) for key in DIVIDED_BY}
        | {"data_fingerprint": about["data_fingerprint"]}
        for about in (earlier, config.to_dict() | {"data_fingerprint": fingerprint})
    )
    if found != wanted:
        raise ValueError(
            f"{folder} divided its data in another way; "
            + workdir.difference(found, wanted, "it", "this run")
        )


def load(before: str, name: str, *, step: str = "") -> PyTree:
    """Weights of the run of the same fold and seed.

    Args:
      before: of `gone_on_from`, with "@last" or "@STEP" behind it for a step.
      name: of the run's folder.
      step: in place of that.
    """
    folder, which = checkpoint.split_spec(before)
    which = step or which
    spec = str(as_path(folder) / name) + (f"@{which}" if which else "")
    return checkpoint.load(spec)[0]


def pruned(config: ConfigDict, name: str, rewound: PyTree) -> dict[str, PyTree]:
    """{"params", "batch_stats", "masks"} that a pruned network begins with.

    Args:
      name: of the run's folder.
      rewound: what it begins with if `prune.start` says so.
    """
    prune = config.prune
    trained = load(prune.run, name)
    zeros = pruning.count_zeros(trained["params"], prune.sparsity)
    masks = pruning.magnitude_masks(trained["params"], zeros=zeros, scope=prune.scope)
    warn_of_thin_layers(masks)
    if prune.start == KEPT:
        weights = trained
    elif prune.start == REWOUND:
        weights = rewound
    else:
        weights = load(prune.run, name, step=prune.start)
    return weights | {"params": apply_masks(weights["params"], masks), "masks": masks}


def warn_of_thin_layers(masks: PyTree) -> None:
    """Names the kernels that pruning leaves next to nothing of."""
    kept = {
        path: np.asarray(mask) for path, mask in flatten_dict(masks, sep="/").items()
    }
    thin = [
        f"{path} {mask.sum()} of {mask.size}"
        for path, mask in kept.items()
        if mask.mean() < THIN
    ]
    if thin:
        logging.warning(
            "pruning leaves of %s: little goes through them; prune.scope=layer takes "
            "the same share of each layer",
            ", ".join(thin),
        )


def quantized(config: ConfigDict, name: str, fresh: PyTree) -> dict[str, PyTree]:
    """The same of a network of integers: what is zero stays so.

    Args:
      fresh: a new one's weights, which has seen no activations.
    """
    params = fold(load(config.quantize.run, name))
    kernels = {p: x for p, x in flatten_dict(params).items() if p[-1] == "kernel"}
    masks = unflatten_dict({path: np.asarray(x != 0) for path, x in kernels.items()})
    return fresh | {"params": params, "masks": masks}
