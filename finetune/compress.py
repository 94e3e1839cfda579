"""Fine-tunes, prunes, rewinds, retrains and quantises: a network under a byte budget.

    python -m finetune.compress --config configs/finetune/dcase2021_1a.py --workdir DIR \
        --config.data.path=SET --config.init_from=RUN

The chain of Galindo-Meza 2021, chapter 5.4; docs/compression.md has the rest.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.compress import pruning, size
from aemjax.data.folders import AnyPath, as_path, is_remote
from aemjax.data.prepared import PreparedSet
from aemjax.models.numerics import INT8
from aemjax.train import job, limits
from aemjax.train.checkpoint import load, split_spec
from finetune import compress_report
from finetune.compress_report import Stage, selected
from finetune.start import run_name
from finetune.train import train

# Of config.compress.rewind, beside a step: what the survivors of pruning go back to.
PRETRAINING, FINETUNING = "pretraining", "finetuning"
SELECT = ("best", "last")

PyTree = Any


def compress(
    config: ConfigDict,
    folder: str | AnyPath,
    *,
    profile_steps: tuple[int, int] | None = None,
    dry: bool = False,
    run: Callable[..., dict] = train,
) -> dict:
    """Trains every stage into `folder`/NAME; returns compress.json.

    Stages that have finished are not run again.

    Args:
      profile_steps, dry: of `train`, of the first stage; a dry run ends with it.
      run: what trains, with `train`'s arguments.

    Raises:
      ValueError: on a config that does not fit, or a budget that cannot be met.
      Preempted: after SIGTERM.
    """
    options = config.compress
    plain = _without(config)
    _check(config, folder)
    folder = as_path(folder)
    found = run(plain, folder / "dense", profile_steps=profile_steps, dry=dry)
    if dry:
        return found
    stages = [Stage("dense", "fine-tuned")]
    dense = selected(folder / "dense", options.select)
    if options.magnitude:
        stage = _named("magnitude", "pruned by magnitude", options.sparsity)
        run(_pruned(plain, dense, options.sparsity, "run"), folder / stage.name)
        stages.append(stage)
    for sparsity in _sparsities(options, folder / "dense" / run_name(found["runs"][0])):
        pruned, rewind = dense, options.rewind
        for share in pruning.geometric_schedule(sparsity, options.rounds):
            stage = _named("ticket", "lottery ticket", share)
            run(_ticket(plain, pruned, share, rewind), folder / stage.name)
            pruned = selected(folder / stage.name, options.select)
            if rewind.isdecimal():
                rewind = "0"  # where this ticket began: at that step of the first run
        integers = _named("int8", "the same, INT8", sparsity, before=stage.name)
        run(_quantized(plain, pruned, options), folder / integers.name)
        stages += [stage, integers]
    return compress_report.write(config, folder, stages)


def _named(kind: str, title: str, sparsity: float, before: str = "") -> Stage:
    name = f"{kind}_{sparsity:.4f}"
    return Stage(name, f"{title}, {sparsity:.2%}", sparsity, before)


def _check(config: ConfigDict, folder: str | AnyPath) -> None:
    """Refuses now what a stage would be refused for after hours of others."""
    options = config.compress
    limits.check(config)
    if jax.process_count() > 1:
        raise ValueError(
            f"the chain runs in one process, not in {jax.process_count()}; start it on "
            "one host, with all its devices"
        )
    if is_remote(as_path(folder or ".")):
        raise ValueError(f"{folder}: engines read local files; name a local --workdir")
    for module in ("aemjax.export.onnx_file", "aemjax.export.onnx_int8", "jax2onnx"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(
                f"{error}: the chain needs `pip install 'aemjax[export]'`, and `pip "
                "install --no-deps jax2onnx==0.17.1` after it"
            ) from error
    if options.rounds < 1:
        raise ValueError(f"compress.rounds is {options.rounds}, expected 1 or more")
    if not options.int8_epochs > 0:
        raise ValueError(
            f"compress.int8_epochs is {options.int8_epochs}, expected more than 0"
        )
    if options.select not in SELECT:
        raise ValueError(
            f"compress.select is {options.select!r}; known: {', '.join(SELECT)}"
        )
    known = (PRETRAINING, FINETUNING)
    if options.rewind not in known and not options.rewind.isdecimal():
        raise ValueError(
            f"compress.rewind is {options.rewind!r}; expected {PRETRAINING!r}, "
            f"{FINETUNING!r} or a step of fine-tuning that checkpoint.every_steps and "
            "keep_latest keep"
        )
    if config.optimizer.groups or config.eval.window_s:
        raise ValueError(
            "the chain has no optimizer.groups and no eval.window_s: a rewound network "
            "trains as a whole, and engines score whole clips; leave them out"
        )
    _check_sparsity(config)
    if (
        config.init_from
        and options.rewind == PRETRAINING
        and not load(config.init_from)[2]
    ):
        raise ValueError(
            f"{config.init_from} has no other step than 0, so it says nothing of the "
            f"values before its training; set compress.rewind to {FINETUNING!r}"
        )


def _check_sparsity(config: ConfigDict) -> None:
    """Whether so much can be pruned, and the budget met."""
    options, scope = config.compress, config.prune.scope
    if scope not in pruning.SCOPES:
        raise ValueError(
            f"prune.scope is {scope!r}; known: {', '.join(pruning.SCOPES)}"
        )
    if not 0 < options.sparsity < 1:
        raise ValueError(
            f"compress.sparsity is {options.sparsity}, expected a share of all "
            "parameters, such as 0.6"
        )
    model = config.model.to_dict()
    if not model["num_classes"]:
        model["num_classes"] = len(PreparedSet(config.data.path).label_names)
    models.create(**model | {"numerics": INT8})
    network = models.create(**model)
    audio = jax.ShapeDtypeStruct((1, SAMPLE_RATE), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), audio)["params"]
    pruning.count_zeros(shapes, options.sparsity)
    if options.budget:
        # As many as there are, none of them zero.
        _needed(jax.tree.map(lambda x: np.broadcast_to(1.0, x.shape), shapes), options)


def _sparsities(options: ConfigDict, dense: AnyPath) -> list[float]:
    """The one asked for, and the one at which what is stored meets the budget."""
    if not options.budget:
        return [options.sparsity]
    needed = _needed(load(str(dense))[0]["params"], options)
    logging.info("%s stored takes a sparsity of %.4f", options.budget, needed)
    return sorted({options.sparsity, needed} - {0.0})


def _needed(params: PyTree, options: ConfigDict) -> float:
    budget = size.parse_budget(options.budget)
    needed = size.sparsity_for(size.measure(params), budget, width=1)["stored"]
    return math.ceil(needed * 1e4) / 1e4


def _without(config: ConfigDict) -> ConfigDict:
    """What a stage is trained with: the chain is not its concern."""
    config = config.copy_and_resolve_references()
    for name in ("prune", "quantize"):
        if config[name].run:
            raise ValueError(
                f"{name}.run is {config[name].run!r}, but the chain names its own; leave "
                "it out"
            )
    with config.unlocked():
        del config.compress
    return config


def _pruned(config: ConfigDict, before: str, sparsity: float, start: str) -> ConfigDict:
    config = config.copy_and_resolve_references()
    config.prune.update(run=before, sparsity=sparsity, start=start)
    if start != "init_from":
        config.init_from = ""
    return config


def _ticket(
    config: ConfigDict, before: str, sparsity: float, rewind: str
) -> ConfigDict:
    if rewind not in (PRETRAINING, FINETUNING):
        return _pruned(config, before, sparsity, rewind)
    config = _pruned(config, before, sparsity, "init_from")
    if rewind == PRETRAINING and config.init_from:
        # What is random again trains like a new network.
        config.init_from = f"{split_spec(config.init_from)[0]}@0"
        config.optimizer.update(lr_fraction=1.0, layer_decay=1.0, unfreeze_fraction=0.0)
    return config


def _quantized(config: ConfigDict, before: str, options: ConfigDict) -> ConfigDict:
    config = config.copy_and_resolve_references()
    config.init_from = ""
    config.quantize.run = before
    config.optimizer.update(
        learning_rate=options.int8_learning_rate,
        lr_fraction=1.0,
        layer_decay=1.0,
        unfreeze_fraction=0.0,
    )
    config.train.epochs = options.int8_epochs
    config.eval.every_epochs = min(config.eval.every_epochs, options.int8_epochs)
    return config


if __name__ == "__main__":
    job.main(compress)
