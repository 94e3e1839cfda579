"""Fine-tunes a pretrained embedder, or trains from scratch, by a division or all."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.augment import Augment
from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline
from aemjax.data.inspect import check_before_training
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Division, Protocol, divide
from aemjax.train import checkpoint, losses, metrics, optimizer, sharding, workdir
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.evaluate import Evaluator, intervals
from aemjax.train.intervals import fold_interval
from aemjax.train.loop import eval_interval, fit
from aemjax.train.state import TrainState, create_state
from aemjax.train.step import jit_train_step
from aemjax.train.writer import open_writer


def train(config: ConfigDict, folder: str | Path) -> dict:
    """Trains on every division into `folder`/fold{n}_seed{s}; returns the results.

    Raises:
      ValueError: on a config, data set, checkpoint or folder that does not fit.
      Preempted: after SIGTERM.
    """
    mesh = sharding.data_mesh()
    sharding.check_batch_size(
        config.train.batch_size, mesh, paired=config.augment.mixup_alpha > 0
    )
    sharding.check_batch_size(config.eval.batch_size, mesh)
    data = PreparedSet(config.data.path)
    if not config.model.num_classes:
        config = config.copy_and_resolve_references()
        config.model.num_classes = len(data.label_names)
    data.check_classes(config.model.num_classes)
    metrics.check_name(config.checkpoint.metric, data)
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
    # Folds of equal size and loss share one compiled step.
    recipe = functools.cache(
        functools.partial(_recipe, config, model, shapes["params"], mesh)
    )
    # Names are looked up here, before there is a folder.
    recipe(1, _loss_options(config, data, divisions[0]), data.multi_label)
    source, source_step = _pretrained(config)
    if source is not None:
        checkpoint.merge(shapes, source, config.init_patterns)
    fixed = config.to_dict() | {
        "data_fingerprint": data.fingerprint,
        "init_step": source_step,
    }
    if workdir.open_workdir(folder, fixed):
        logging.info("%s has finished its %d divisions", folder, len(divisions))
        return workdir.read_results(folder)
    evaluator = Evaluator(
        model, mesh, batch_size=config.eval.batch_size, threads=config.data.threads
    )
    with workdir.locked(folder):
        runs = [
            {"fold": division.number, "seed": config.seed}
            | _train_division(
                config,
                Path(folder) / f"fold{division.number}_seed{config.seed}",
                data=data,
                division=division,
                evaluator=evaluator,
                recipe=recipe,
                source=source,
                mesh=mesh,
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
        "summary": {which: _summary(runs, which) for which in ("best", "last")},
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
    options = {key: value for key, value in config.loss.items() if key != "name"}
    if options.get("alpha") == ():
        labels = data.labels_multi_hot(division.eval)
        options["alpha"] = losses.alpha_from_shares(labels)
    return tuple(sorted(options.items()))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What divisions of equal size share: a fresh state, and the compiled step."""

    create_state: Callable[[], TrainState]
    train_step: Callable
    total_steps: int


def _recipe(
    config, model, params, mesh, total_steps, loss_options, multi_label
) -> Recipe:
    tx = optimizer.create(
        config.optimizer.name,
        optimizer.schedule(
            config.schedule.name,
            peak=config.optimizer.learning_rate,
            total_steps=total_steps,
        ),
        weight_decay=config.optimizer.weight_decay,
        groups=optimizer.embedder_groups(sorted(params), config.optimizer.lr_fraction),
    )
    loss_fn = losses.get(
        config.loss.name, multi_label=multi_label, **dict(loss_options)
    )
    scores = jax.ShapeDtypeStruct((1, config.model.num_classes), jnp.float32)
    jax.eval_shape(loss_fn, scores, scores)  # checks its options
    augment = config.augment.to_dict()
    mixup_start_step = round(augment.pop("mixup_start_fraction") * total_steps)
    return Recipe(
        create_state=functools.partial(
            create_state,
            model,
            tx,
            seed=config.seed,
            mesh=mesh,
            ema=config.train.ema_decay > 0,
        ),
        train_step=jit_train_step(
            mesh,
            model=model,
            tx=tx,
            augment=Augment(**augment, mixup_start_step=mixup_start_step),
            loss_fn=loss_fn,
            seed=config.seed,
            ema_decay=config.train.ema_decay,
        ),
        total_steps=total_steps,
    )


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


def _train_division(
    config: ConfigDict,
    folder: Path,
    *,
    data: PreparedSet,
    division: Division,
    evaluator: Evaluator,
    recipe: Callable[..., Recipe],
    source,
    mesh: Mesh,
) -> dict:
    """Trains by one division; returns its best and last metrics."""
    steps = round(config.train.epochs * len(division.train) / config.train.batch_size)
    plan = recipe(
        max(1, steps), _loss_options(config, data, division), data.multi_label
    )
    state = plan.create_state()
    if source is not None:
        weights = checkpoint.weights(state)
        weights = checkpoint.merge(weights, source, config.init_patterns)
        replicated, _ = sharding.shardings(mesh)
        state = state.replace(**jax.device_put(weights, replicated))
        if state.ema is not None:
            state = state.replace(ema=jax.tree.map(jnp.copy, state.params))

    def batches(start_step: int):
        return pipeline.train_batches(
            data,
            division.train,
            batch_size=config.train.batch_size,
            crop_samples=round(config.data.crop_s * SAMPLE_RATE),
            seed=config.seed,
            start_step=start_step,
            threads=config.data.threads,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

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
            train_step=plan.train_step,
            batches=batches,
            evaluate=lambda state: evaluator.metrics(state, data, division.eval),
            mesh=mesh,
            total_steps=plan.total_steps,
            eval_every_steps=eval_interval(
                plan.total_steps, config.train.epochs, config.eval.every_epochs
            ),
            save_every_steps=config.checkpoint.every_steps,
            log_every_steps=config.train.log_every_steps,
            checkpoints=checkpoints,
            card=Card.of_run(
                config.model.to_dict(), data.manifest, config.checkpoint.metric
            ),
            writer=writer,
        )

        def result(step: int) -> dict:
            about = {"step": step, "metrics": checkpoints.metrics(step)}
            weights = checkpoints.load_weights(step)
            rows, logits = evaluator.logits(weights, data, division.eval)
            if resamples := config.eval.resamples:
                about["intervals"] = intervals(
                    data, rows, logits, resamples=resamples, seed=config.seed
                )
            if not data.multi_label:
                labels = data.labels_multi_hot(rows)
                about["confusion"] = metrics.confusion_matrix(logits, labels)
            return about

        best, last = result(checkpoints.best_step), result(plan.total_steps)
    logging.info("%s: best %s, last %s", folder, best["metrics"], last["metrics"])
    return {
        "train_clips": len(division.train),
        "eval_clips": len(division.eval),
        "shared_groups": len(division.shared_groups),
        "best": best,
        "last": last,
    }


def _summary(runs: list[dict], which: str) -> dict[str, dict]:
    """Mean, standard deviation and 95 % interval over divisions of every metric.

    The F1 of the mean precision and recall is beside the mean F1: they differ.
    """
    names = set.intersection(*(set(run[which]["metrics"]) for run in runs))
    values = {
        name: [run[which]["metrics"][name] for run in runs] for name in sorted(names)
    }
    summary = {
        name: {
            "mean": float(np.mean(numbers)),
            # The sample deviation; one division has none.
            "std": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
            "interval": fold_interval(numbers),
        }
        for name, numbers in values.items()
    }
    for kind in ("", "positive_"):
        if kind + "F1" in summary:
            means = (summary[kind + name]["mean"] for name in ("precision", "recall"))
            summary[kind + "F1"]["of_means"] = metrics.harmonic_mean(*means)
    return summary
