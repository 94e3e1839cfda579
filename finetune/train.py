"""Fine-tunes a pretrained embedder, or trains from scratch, by a division or all."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import logging
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline
from aemjax.data.folders import AnyPath, as_path
from aemjax.data.inspect import check_before_training
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Division, Protocol, divide, hold_out
from aemjax.train import (
    checkpoint,
    losses,
    metrics,
    param_groups,
    recipe,
    sharding,
    workdir,
)
from aemjax.train.dry_run import dry_run
from aemjax.train.evaluate import Evaluator
from aemjax.train.loop import eval_interval
from aemjax.train.profiler import Profiler
from aemjax.train.recipe import Recipe
from finetune.division import Job, crops, train_division
from finetune.summary import summarize

# Of config.optimizer: which parameters train at which rate.
GROUP_OPTIONS = ("lr_fraction", "layer_decay", "unfreeze_fraction", "groups")


def train(
    config: ConfigDict,
    folder: str | AnyPath,
    *,
    profile_steps: tuple[int, int] | None = None,
    dry: bool = False,
    observe_evaluation: Callable[[int, int, dict], None] | None = None,
) -> dict:
    """Trains on every division into `folder`/fold{n}_seed{s}; returns the results.

    Args:
      profile_steps: of `Profiler`, in each of them.
      dry: `dry_run` on the first instead, which leaves no folder.
      observe_evaluation: is told (index of the division, number of the evaluation in it
        from 1, metrics) before they are saved; what it raises ends the training.

    Raises:
      ValueError: on a config, data set, checkpoint or folder that does not fit.
      Preempted: after SIGTERM.
    """
    mesh = sharding.data_mesh()
    sharding.check_batch_size(
        config.train.batch_size,
        mesh,
        paired=config.augment.mixup_alpha > 0,
        microbatches=config.train.microbatches,
    )
    sharding.check_batch_size(config.eval.batch_size, mesh)
    data = PreparedSet(config.data.path)
    if not config.model.num_classes:
        config = config.copy_and_resolve_references()
        config.model.num_classes = len(data.label_names)
    data.check_classes(config.model.num_classes)
    metrics.check_name(
        config.checkpoint.metric, data, averaged=config.train.ema_decay > 0
    )
    eval_interval(1, config.train.epochs, config.eval.every_epochs)
    protocol = _protocol(config)
    divisions = _chosen(divide(data, protocol), config.data.fold, data)
    if share := config.data.validation_share:
        seed, grouped = config.data.split_seed, config.data.grouped
        divisions = [
            hold_out(data, division, share=share, seed=seed, grouped=grouped)
            for division in divisions
        ]
    check_before_training(data, divisions)
    model = models.create(**config.model)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, SAMPLE_RATE)))
    )
    optimizer_options = config.optimizer.to_dict()
    group_options = {key: optimizer_options.pop(key) for key in GROUP_OPTIONS}

    # Folds of equal size and loss share one compiled step.
    @functools.cache
    def compiled(total_steps: int, loss_options: tuple) -> Recipe:
        groups = param_groups.of_fine_tuning(
            model, shapes["params"], total_steps=total_steps, **group_options
        )
        table = param_groups.table(
            shapes["params"],
            groups,
            learning_rate=optimizer_options["learning_rate"],
            weight_decay=optimizer_options["weight_decay"],
        )
        logging.info("%d steps\n%s", total_steps, table)
        return recipe.create(
            model,
            mesh,
            seed=config.seed,
            total_steps=total_steps,
            num_classes=config.model.num_classes,
            multi_label=data.multi_label,
            crop_samples=round(config.data.crop_s * SAMPLE_RATE),
            optimizer_options=optimizer_options,
            schedule_options=config.schedule.to_dict(),
            augment_options=config.augment.to_dict(),
            loss_options=dict(loss_options),
            groups=groups,
            microbatches=config.train.microbatches,
            remat=config.train.remat,
            ema_decay=config.train.ema_decay,
        )

    def plan(total_steps: int, division: Division) -> Recipe:
        return compiled(total_steps, _loss_options(config, data, division))

    profiler = Profiler(profile_steps, folder)
    source, source_step = _pretrained(config)
    if source is not None:
        checkpoint.merge(shapes, source, config.init_patterns)
    job = Job(
        config,
        data,
        mesh,
        Evaluator(
            model,
            mesh,
            batch_size=config.eval.batch_size,
            threads=config.data.threads,
            window_s=config.eval.window_s,
            hop_s=config.eval.hop_s,
        ),
        plan,
        source,
        profiler,
        observe_evaluation,
    )
    # Names are looked up here, before there is a folder.
    first = divisions[0]
    how = plan(job.total_steps(first), first)
    if dry:
        rows = pipeline.longest_first(data, first.eval)[: config.eval.batch_size]
        report = dry_run(
            how,
            batches=pipeline.train_batches(
                crops(config, data, first), threads=config.data.threads
            ),
            evaluate=lambda state: job.evaluator.logits(state.weights, data, rows),
            mesh=mesh,
        )
        logging.info("a dry run, nothing is written:\n%s", report)
        return {}
    fixed = config.to_dict() | {
        "data_fingerprint": data.fingerprint,
        "init_step": source_step,
    }
    if workdir.open_workdir(folder, fixed):
        logging.info("%s has finished its %d divisions", folder, len(divisions))
        return workdir.read_results(folder)
    with workdir.locked(folder):
        runs = [
            {"fold": division.number, "seed": config.seed}
            | train_division(
                job,
                division,
                as_path(folder) / f"fold{division.number}_seed{config.seed}",
                index=index,
            )
            for index, division in enumerate(divisions)
        ]
    results = {
        "dataset": data.manifest["dataset"],
        "split": protocol.describe(data),
        "init_from": config.init_from,
        "init_step": source_step,
        "lr_fraction": config.optimizer.lr_fraction,
        "selected_on": _selected_on(config),
        "metric": config.checkpoint.metric.removeprefix("ema_"),
        "weights": "ema" if config.checkpoint.metric.startswith("ema_") else "raw",
        "runs": runs,
        "summary": {
            which: summarize(runs, which)
            for which in ("best", "last", "ema")
            if which in runs[0]
        },
    }
    workdir.write_results(folder, results)
    return results


def _protocol(config: ConfigDict) -> Protocol:
    return Protocol(
        config.data.protocol,
        folds=config.data.folds,
        seed=config.data.split_seed,
        grouped=config.data.grouped,
        train=config.data.train,
        eval=config.data.eval,
    )


def _selected_on(config: ConfigDict) -> str:
    if share := config.data.validation_share:
        return f"{share:.0%} of the clips to train on, held out"
    return "the clips evaluated on"  # as the published work does


def _chosen(
    divisions: list[Division], number: int, data: PreparedSet
) -> list[Division]:
    """The division of this number; all of them for 0."""
    if not number:
        return divisions
    chosen = [division for division in divisions if division.number == number]
    if not chosen:
        raise ValueError(
            f"{data.path} has no fold {number}; it has {[d.number for d in divisions]}"
        )
    return chosen


def _loss_options(config: ConfigDict, data: PreparedSet, division: Division) -> tuple:
    """The options of `config.loss`, hashable; an empty alpha is filled in."""
    options = config.loss.to_dict()
    if options.get("alpha") == ():
        known = division.eval if division.validation is None else division.validation
        labels = data.labels_multi_hot(known)
        options["alpha"] = losses.alpha_from_shares(labels)
    return tuple(sorted(options.items()))


def _pretrained(config: ConfigDict):
    """(weights to start from, their step); (None, None) for training from scratch."""
    if not config.init_from:
        for name, value in (("lr_fraction", 1), ("unfreeze_fraction", 0)):
            if (found := config.optimizer[name]) != value:
                raise ValueError(
                    f"optimizer.{name} is {found}, but there is no init_from: training "
                    f"from scratch needs {name} {value}; or name a pretraining run with "
                    "--config.init_from=WORKDIR"
                )
        return None, None
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
    logging.info("starting from step %d of %s", step, config.init_from)
    return weights, step
