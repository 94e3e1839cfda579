"""Fine-tunes, prunes, rewinds, retrains and quantises: a network under a byte budget.

    python -m finetune.compress --config configs/finetune/dcase2021_1a.py --workdir DIR \
        --config.data.path=SET --config.init_from=RUN

The chain of Galindo-Meza 2021, chapter 5.4; docs/compression.md has the rest.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
from absl import logging
from ml_collections import ConfigDict

from aemjax.compress import pruning, size
from aemjax.data.folders import AnyPath, as_path, is_remote
from aemjax.train import job
from aemjax.train.checkpoint import load, split_spec
from finetune import compress_report
from finetune.train import train

# Of config.compress.rewind, beside a step: what the survivors of pruning go back to.
PRETRAINING, FINETUNING = "pretraining", "finetuning"
SELECT = ("best", "last")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of the chain.

    Attributes:
      name: of its folder.
      title: in the table.
      sparsity: of its parameters; 0: none are pruned.
      before: of a network of integers, the folder of the one that it was made of.
    """

    name: str
    title: str
    sparsity: float = 0.0
    before: str = ""

    @property
    def int8(self) -> bool:
        return bool(self.before)


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
    _check(options)
    if is_remote(as_path(folder or ".")):
        raise ValueError(f"{folder}: engines read local files; name a local --workdir")
    folder = as_path(folder)
    found = run(plain, folder / "dense", profile_steps=profile_steps, dry=dry)
    if dry:
        return found
    stages = [Stage("dense", "fine-tuned")]
    dense = _spec(folder / "dense", options)
    if options.magnitude:
        stage = _named("magnitude", "pruned by magnitude", options.sparsity)
        run(_pruned(plain, dense, options.sparsity, "run"), folder / stage.name)
        stages.append(stage)
    for sparsity in _sparsities(options, folder / "dense" / found_name(found)):
        pruned = dense
        rounds = pruning.geometric_schedule(sparsity, options.rounds)
        for share in rounds:
            stage = _named("ticket", "lottery ticket", share)
            run(_ticket(plain, pruned, share, options.rewind), folder / stage.name)
            pruned = _spec(folder / stage.name, options)
        integers = _named("int8", "the same, INT8", sparsity, before=stage.name)
        run(_quantized(plain, pruned, options), folder / integers.name)
        stages += [stage, integers]
    if jax.process_index():
        return {}
    return compress_report.write(config, folder, stages)


def found_name(results: dict) -> str:
    """The folder of a job's first run."""
    first = results["runs"][0]
    return f"fold{first['fold']}_seed{first['seed']}"


def _named(kind: str, title: str, sparsity: float, before: str = "") -> Stage:
    name = f"{kind}_{sparsity:.4f}"
    return Stage(name, f"{title}, {sparsity:.2%}", sparsity, before)


def _check(options: ConfigDict) -> None:
    if not 0 < options.sparsity < 1:
        raise ValueError(
            f"compress.sparsity is {options.sparsity}, expected a share of all "
            "parameters, such as 0.6"
        )
    if options.rounds < 1:
        raise ValueError(f"compress.rounds is {options.rounds}, expected 1 or more")
    known = (PRETRAINING, FINETUNING)
    if options.rewind not in known and not options.rewind.isdecimal():
        raise ValueError(
            f"compress.rewind is {options.rewind!r}; expected {PRETRAINING!r}, "
            f"{FINETUNING!r} or a step of fine-tuning that checkpoint.every_steps and "
            "keep_latest keep"
        )
    if options.select not in SELECT:
        raise ValueError(
            f"compress.select is {options.select!r}; known: {', '.join(SELECT)}"
        )
    if options.budget:
        size.parse_budget(options.budget)


def _sparsities(options: ConfigDict, dense: AnyPath) -> list[float]:
    """The one asked for, and the one at which what is stored meets the budget."""
    if not options.budget:
        return [options.sparsity]
    layers = size.measure(load(str(dense))[0]["params"])
    budget = size.parse_budget(options.budget)
    needed = size.sparsity_for(layers, budget, width=1)["stored"]
    needed = math.ceil(needed * 1e4) / 1e4
    logging.info("%s stored takes a sparsity of %.4f", options.budget, needed)
    return sorted({options.sparsity, needed} - {0.0})


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


def _spec(folder: AnyPath, options: ConfigDict) -> str:
    return f"{folder}@last" if options.select == "last" else str(folder)


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
