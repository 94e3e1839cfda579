"""Fine-tunes a pretrained embedder, or trains from scratch, over one fold or all."""

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
from aemjax.data import pipeline, splits
from aemjax.data.prepared import PreparedSet
from aemjax.train import checkpoint, losses, metrics, optimizer, sharding, workdir
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.evaluate import Evaluator
from aemjax.train.loop import eval_interval, fit
from aemjax.train.state import TrainState, create_state
from aemjax.train.step import jit_train_step
from aemjax.train.writer import open_writer


def train(config: ConfigDict, folder: str | Path) -> dict:
    """Trains every fold into `folder`/fold{n}_seed{s}; returns the results.

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
    data.check_classes(config.model.num_classes)
    loss_fn = losses.get(config.loss.name, multi_label=data.multi_label)
    metrics.check_name(config.checkpoint.metric, multi_label=data.multi_label)
    eval_interval(1, config.train.epochs, config.eval.every_epochs)
    folds = splits.fold_numbers(data, folds=config.data.folds)
    if config.data.fold:
        folds = [config.data.fold]
    rows = {
        fold: splits.by_fold(data, fold, folds=config.data.folds, seed=config.seed)
        for fold in folds
    }
    lr_fraction = config.optimizer.lr_fraction
    frozen = models.BLOCKS[:-1] if lr_fraction == 0 else ()
    model = models.create(**config.model, frozen=frozen)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, SAMPLE_RATE)))
    )
    # Folds of equal size share one compiled step.
    recipe = functools.cache(
        lambda total_steps: _recipe(
            config, model, shapes["params"], loss_fn, mesh, total_steps
        )
    )
    recipe(1)  # its names are looked up here, before there is a folder
    source, source_step = _pretrained(config)
    if source is not None:
        checkpoint.merge(shapes, source, config.init_patterns)
    fixed = config.to_dict() | {
        "data_fingerprint": data.fingerprint,
        "init_step": source_step,
    }
    if workdir.open_workdir(folder, fixed):
        logging.info("%s has finished its folds %s already", folder, folds)
        return workdir.read_results(folder)
    evaluator = Evaluator(
        model, mesh, batch_size=config.eval.batch_size, threads=config.data.threads
    )
    with workdir.locked(folder):
        runs = [
            {"fold": fold, "seed": config.seed}
            | _train_fold(
                config,
                Path(folder) / f"fold{fold}_seed{config.seed}",
                data=data,
                rows=rows[fold],
                evaluator=evaluator,
                recipe=recipe,
                source=source,
                mesh=mesh,
            )
            for fold in folds
        ]
    results = {
        "dataset": data.manifest["dataset"],
        "split": "official folds" if data.has_folds else f"folds by seed {config.seed}",
        "init_from": config.init_from,
        "init_step": source_step,
        "lr_fraction": lr_fraction,
        "selected_on": "the test fold",  # as the published work does
        "metric": config.checkpoint.metric,
        "runs": runs,
        "summary": {which: _summary(runs, which) for which in ("best", "last")},
    }
    workdir.write_results(folder, results)
    return results


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What folds of equal size share: a fresh state, and the compiled step."""

    create_state: Callable[[], TrainState]
    train_step: Callable
    total_steps: int


def _recipe(config, model, params, loss_fn, mesh, total_steps) -> Recipe:
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


def _train_fold(
    config: ConfigDict,
    folder: Path,
    *,
    data: PreparedSet,
    rows: tuple[np.ndarray, np.ndarray],
    evaluator: Evaluator,
    recipe: Callable[[int], Recipe],
    source,
    mesh: Mesh,
) -> dict:
    """Trains one fold; returns its best and last metrics with their confusion.

    Args:
      rows: (training rows, evaluation rows).
    """
    train_rows, eval_rows = rows

    steps = round(config.train.epochs * len(train_rows) / config.train.batch_size)
    plan = recipe(max(1, steps))
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
            train_rows,
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
            evaluate=lambda state: evaluator.metrics(state, data, eval_rows),
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
            if not data.multi_label:
                weights = checkpoints.load_weights(step)
                rows, logits = evaluator.logits(weights, data, eval_rows)
                labels = data.labels_multi_hot(rows)
                about["confusion"] = metrics.confusion_matrix(logits, labels)
            return about

        best, last = result(checkpoints.best_step), result(plan.total_steps)
    logging.info("%s: best %s, last %s", folder, best["metrics"], last["metrics"])
    return {
        "train_clips": len(train_rows),
        "eval_clips": len(eval_rows),
        "best": best,
        "last": last,
    }


def _summary(runs: list[dict], which: str) -> dict[str, dict[str, int | float]]:
    """Mean and standard deviation over folds of every metric."""
    names = runs[0][which]["metrics"]
    values = {name: [run[which]["metrics"][name] for run in runs] for name in names}
    return {
        name: {
            "mean": float(np.mean(numbers)),
            # The sample deviation; one fold has none.
            "std": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
        }
        for name, numbers in values.items()
    }
