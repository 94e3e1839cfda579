"""Fine-tunes a pretrained embedder, or trains from scratch, by a division or all."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline, sampling
from aemjax.data.folders import AnyPath, as_path
from aemjax.data.inspect import check_before_training
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Division, Protocol, divide
from aemjax.train import (
    checkpoint,
    losses,
    metrics,
    optimizer,
    recipe,
    sharding,
    workdir,
)
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.dry_run import dry_run
from aemjax.train.evaluate import Evaluator, intervals
from aemjax.train.loop import Cadence, eval_interval, fit
from aemjax.train.profiler import Profiler
from aemjax.train.recipe import Recipe
from aemjax.train.state import with_ema
from aemjax.train.writer import open_writer
from finetune.summary import summarize


def train(
    config: ConfigDict,
    folder: str | AnyPath,
    *,
    profile_steps: tuple[int, int] | None = None,
    dry: bool = False,
) -> dict:
    """Trains on every division into `folder`/fold{n}_seed{s}; returns the results.

    Args:
      profile_steps: of `Profiler`, in each of them.
      dry: `dry_run` on the first instead, which leaves no folder.

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
    check_before_training(data, divisions)
    lr_fraction = config.optimizer.lr_fraction
    frozen = models.BLOCKS[:-1] if lr_fraction == 0 else ()
    model = models.create(**config.model, frozen=frozen)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, SAMPLE_RATE)))
    )
    groups = optimizer.embedder_groups(sorted(shapes["params"]), lr_fraction)

    # Folds of equal size and loss share one compiled step.
    @functools.cache
    def plan(total_steps: int, loss_options: tuple) -> Recipe:
        optimizer_options = config.optimizer.to_dict()
        del optimizer_options["lr_fraction"]
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

    # Names are looked up here, before there is a folder.
    plan(1, _loss_options(config, data, divisions[0]))
    profiler = Profiler(profile_steps, folder)
    source, source_step = _pretrained(config)
    if source is not None:
        checkpoint.merge(shapes, source, config.init_patterns)
    evaluator = Evaluator(
        model, mesh, batch_size=config.eval.batch_size, threads=config.data.threads
    )
    if dry:
        crops = _crops(config, data, divisions[0])
        rows = pipeline.longest_first(data, divisions[0].eval)
        report = dry_run(
            plan(1, _loss_options(config, data, divisions[0])),
            batches=pipeline.train_batches(crops, threads=config.data.threads),
            evaluate=lambda state: evaluator.logits(
                state.weights, data, rows[: config.eval.batch_size]
            ),
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
            | _train_division(
                config,
                as_path(folder) / f"fold{division.number}_seed{config.seed}",
                data=data,
                division=division,
                evaluator=evaluator,
                plan=plan,
                source=source,
                mesh=mesh,
                profiler=profiler,
            )
            for division in divisions
        ]
    results = {
        "dataset": data.manifest["dataset"],
        "split": protocol.describe(data),
        "init_from": config.init_from,
        "init_step": source_step,
        "lr_fraction": lr_fraction,
        "selected_on": "the clips evaluated on",  # as the published work does
        "metric": config.checkpoint.metric,
        "runs": runs,
        "summary": {which: summarize(runs, which) for which in ("best", "last")},
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
        labels = data.labels_multi_hot(division.eval)
        options["alpha"] = losses.alpha_from_shares(labels)
    return tuple(sorted(options.items()))


def _pretrained(config: ConfigDict):
    """(weights to start from, their step); (None, None) for training from scratch."""
    if not config.init_from:
        if config.optimizer.lr_fraction != 1:
            raise ValueError(
                f"optimizer.lr_fraction is {config.optimizer.lr_fraction}, but there is "
                "no init_from: training from scratch needs lr_fraction 1; or name a "
                "pretraining run with --config.init_from=WORKDIR"
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


def _crops(
    config: ConfigDict, data: PreparedSet, division: Division
) -> pipeline.CropBatches:
    """What is trained on."""
    return pipeline.CropBatches(
        data,
        division.train,
        config.train.batch_size,
        round(config.data.crop_s * SAMPLE_RATE),
        config.seed,
        order=sampling.order(
            config.data.sampling,
            data,
            division.train,
            seed=config.seed,
            offset=config.data.balance_offset,
        ),
        max_damaged=config.data.max_damaged,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _train_division(
    config: ConfigDict,
    folder: AnyPath,
    *,
    data: PreparedSet,
    division: Division,
    evaluator: Evaluator,
    plan: Callable[[int, tuple], Recipe],
    source,
    mesh: Mesh,
    profiler: Profiler,
) -> dict:
    """Trains by one division; returns its best and last metrics."""
    batch_size = config.train.batch_size
    total_steps = max(1, round(config.train.epochs * len(division.train) / batch_size))
    how = plan(total_steps, _loss_options(config, data, division))
    state = how.create_state()
    if source is not None:
        weights = checkpoint.merge(state.weights, source, config.init_patterns)
        replicated, _ = sharding.shardings(mesh)
        state = state.replace(**jax.device_put(weights, replicated))
        if state.ema is not None:
            state = with_ema(state)
    cadence = Cadence(
        total_steps=total_steps,
        eval_every_steps=eval_interval(
            total_steps, config.train.epochs, config.eval.every_epochs
        ),
        save_every_steps=config.checkpoint.every_steps,
        log_every_steps=config.train.log_every_steps,
        hang_timeout_s=config.train.hang_timeout_s,
    )
    crops = _crops(config, data, division)
    card = Card.of_run(config.model.to_dict(), data.manifest, config.checkpoint.metric)
    with (
        Checkpoints(
            folder,
            metric=config.checkpoint.metric,
            keep_latest=config.checkpoint.keep_latest,
        ) as checkpoints,
        open_writer(folder, start_step=checkpoints.latest_step or 0) as writer,
    ):
        fit(
            state,
            train_step=how.train_step,
            batches=lambda step: pipeline.train_batches(
                crops, start_step=step, threads=config.data.threads
            ),
            evaluate=lambda state: evaluator.metrics(state, data, division.eval),
            observe=lambda step: (
                how.rates(step) | sharding.sum_over_processes(crops.scalars())
            ),
            mesh=mesh,
            cadence=cadence,
            flops_per_clip=how.flops_per_clip,
            checkpoints=checkpoints,
            card=card,
            writer=writer,
            profiler=profiler,
        )

        def result(step: int) -> dict:
            about = {"step": step, "metrics": checkpoints.metrics(step)}
            weights = checkpoints.load_weights(step, card.item)
            rows, logits = evaluator.logits(weights, data, division.eval)
            if resamples := config.eval.resamples:
                about["intervals"] = intervals(
                    data, rows, logits, resamples=resamples, seed=config.seed
                )
            if not data.multi_label:
                labels = data.labels_multi_hot(rows)
                about["confusion"] = metrics.confusion_matrix(logits, labels)
            return about

        best, last = result(checkpoints.best_step), result(total_steps)
    logging.info("%s: best %s, last %s", folder, best["metrics"], last["metrics"])
    return {
        "train_clips": len(division.train),
        "eval_clips": len(division.eval),
        "shared_groups": len(division.shared_groups),
        "best": best,
        "last": last,
    }
