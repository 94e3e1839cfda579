"""Pretrains a model on a prepared set; read it from top to bottom."""

from pathlib import Path

import jax
from absl import logging
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.augment import Augment
from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline
from aemjax.data.inspect import check_before_training
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Protocol, divide
from aemjax.train import losses, metrics, optimizer, sharding, workdir
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.evaluate import Evaluator
from aemjax.train.loop import eval_interval, fit
from aemjax.train.state import create_state
from aemjax.train.step import jit_train_step
from aemjax.train.writer import open_writer


def train(config: ConfigDict, folder: str | Path) -> dict[str, int | float]:
    """Trains, or goes on training, into `folder`; returns the last metrics.

    Raises:
      ValueError: on a config, data set or folder that does not fit.
      Preempted: after SIGTERM.
    """
    mesh = sharding.data_mesh()
    batch_size = config.train.batch_size
    sharding.check_batch_size(batch_size, mesh, paired=config.augment.mixup_alpha > 0)
    sharding.check_batch_size(config.eval.batch_size, mesh)

    data = PreparedSet(config.data.path)
    data.check_classes(config.model.num_classes)
    loss = config.loss.to_dict()
    loss_fn = losses.get(loss.pop("name"), multi_label=data.multi_label, **loss)
    metrics.check_name(config.checkpoint.metric, data)
    protocol = Protocol("lists", train=config.data.train, eval=config.data.eval)
    (division,) = divide(data, protocol)
    train_rows, eval_rows = division.train, division.eval
    check_before_training(data, [division])

    total_steps = max(1, round(config.train.epochs * len(train_rows) / batch_size))
    model = models.create(**config.model)
    tx = optimizer.create(
        config.optimizer.name,
        optimizer.schedule(
            config.schedule.name,
            peak=config.optimizer.learning_rate,
            total_steps=total_steps,
        ),
        weight_decay=config.optimizer.weight_decay,
    )
    augment = config.augment.to_dict()
    augment["mixup_start_step"] = round(
        augment.pop("mixup_start_fraction") * total_steps
    )
    train_step = jit_train_step(
        mesh,
        model=model,
        tx=tx,
        augment=Augment(**augment),
        loss_fn=loss_fn,
        seed=config.seed,
        ema_decay=config.train.ema_decay,
    )
    eval_every_steps = eval_interval(
        total_steps, config.train.epochs, config.eval.every_epochs
    )

    fixed = config.to_dict() | {"data_fingerprint": data.fingerprint}
    if workdir.open_workdir(folder, fixed):
        logging.info("%s has finished its %d steps already", folder, total_steps)
        return workdir.read_results(folder)

    evaluator = Evaluator(
        model, mesh, batch_size=config.eval.batch_size, threads=config.data.threads
    )
    state = create_state(
        model, tx, seed=config.seed, mesh=mesh, ema=config.train.ema_decay > 0
    )
    logging.info(
        "%d parameters; %d clips to train on, %d to evaluate; %d steps on %d devices",
        sum(x.size for x in jax.tree.leaves(state.params)),
        len(train_rows),
        len(eval_rows),
        total_steps,
        mesh.size,
    )

    def batches(start_step: int):
        return pipeline.train_batches(
            data,
            train_rows,
            batch_size=batch_size,
            crop_samples=round(config.data.crop_s * SAMPLE_RATE),
            seed=config.seed,
            start_step=start_step,
            threads=config.data.threads,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    card = Card.of_run(config.model.to_dict(), data.manifest, config.checkpoint.metric)
    with (
        workdir.locked(folder),
        Checkpoints(
            folder,
            metric=config.checkpoint.metric,
            keep_latest=config.checkpoint.keep_latest,
        ) as checkpoints,
        open_writer(folder, start_step=checkpoints.latest_step or 0) as writer,
    ):
        fit(
            state,
            train_step=train_step,
            batches=batches,
            evaluate=lambda state: evaluator.metrics(state, data, eval_rows),
            mesh=mesh,
            total_steps=total_steps,
            eval_every_steps=eval_every_steps,
            save_every_steps=config.checkpoint.every_steps,
            log_every_steps=config.train.log_every_steps,
            checkpoints=checkpoints,
            card=card,
            writer=writer,
        )
        results = {
            "split": protocol.describe(data),
            "steps": total_steps,
            "train_clips": len(train_rows),
            "last": checkpoints.metrics(total_steps),
            "best_step": checkpoints.best_step,
            "best": checkpoints.metrics(checkpoints.best_step),
        }
    workdir.write_results(folder, results)
    return results
