"""Pretrains a model on a prepared set; read it from top to bottom."""

import dataclasses

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline, sampling
from aemjax.data.folders import AnyPath
from aemjax.data.inspect import check_before_training
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Protocol, divide
from aemjax.data.teachers import open_teacher
from aemjax.train import checkpoint, limits, metrics, recipe, sharding, workdir
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.distill import Distillation
from aemjax.train.dry_run import dry_run
from aemjax.train.evaluate import Evaluator
from aemjax.train.loop import Cadence, eval_interval, fit
from aemjax.train.profiler import Profiler
from aemjax.train.writer import open_writer


def train(
    config: ConfigDict,
    folder: str | AnyPath,
    *,
    profile_steps: tuple[int, int] | None = None,
    dry: bool = False,
) -> dict:
    """Trains, or goes on training, into `folder`; returns the last metrics.

    Args:
      profile_steps: of `Profiler`.
      dry: `dry_run` instead, which leaves no folder.

    Raises:
      ValueError: on a config, data set or folder that does not fit.
      Preempted: after SIGTERM.
    """
    limits.check(config)
    mesh = sharding.data_mesh()
    batch_size = config.train.batch_size
    sharding.check_batch_size(
        batch_size,
        mesh,
        paired=config.augment.mixup_alpha > 0,
        microbatches=config.train.microbatches,
    )
    sharding.check_batch_size(config.eval.batch_size, mesh)

    data = PreparedSet(config.data.path)
    data.check_classes(config.model.num_classes)
    metrics.check_name(
        config.checkpoint.metric, data, averaged=config.train.ema_decay > 0
    )
    protocol = Protocol("lists", train=config.data.train, eval=config.data.eval)
    (division,) = divide(data, protocol)
    train_rows, eval_rows = division.train, division.eval
    check_before_training(data, [division])
    order = sampling.order(
        config.data.sampling,
        data,
        train_rows,
        seed=config.seed,
        offset=config.data.balance_offset,
    )

    total_steps = max(1, round(config.train.epochs * len(train_rows) / batch_size))
    crop_samples = round(config.data.crop_s * SAMPLE_RATE)
    model = models.create(**config.model)
    teaching = open_teaching(config, data.multi_label, mesh)
    if teaching.labels is not None:
        data.check_labels(teaching.labels, config.distill.teacher)
    stored = None
    if config.distill.logits:
        temperature = config.distill.temperature
        stored = open_teacher(config.distill.logits, data, temperature=temperature)
    plan = make_recipe(
        config,
        model,
        mesh,
        teaching,
        total_steps=total_steps,
        multi_label=data.multi_label,
    )
    cadence = Cadence(
        total_steps=total_steps,
        eval_every_steps=eval_interval(
            total_steps, config.train.epochs, config.eval.every_epochs
        ),
        save_every_steps=config.checkpoint.every_steps,
        log_every_steps=config.train.log_every_steps,
        hang_timeout_s=config.train.hang_timeout_s,
    )
    crops = pipeline.CropBatches(
        data,
        train_rows,
        batch_size,
        crop_samples,
        config.seed,
        order=order,
        teacher=stored,
        max_damaged=config.data.max_damaged,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    profiler = Profiler(profile_steps, folder)

    fixed = config.to_dict() | {
        "data_fingerprint": data.fingerprint,
        "teacher_step": teaching.step,
    }
    if stored is not None:
        fixed["teacher_fingerprint"] = stored.fingerprint
    evaluator = Evaluator(
        model, mesh, batch_size=config.eval.batch_size, threads=config.data.threads
    )

    def batches(start_step: int):
        return pipeline.train_batches(
            crops, start_step=start_step, threads=config.data.threads
        )

    if dry:
        rows = pipeline.longest_first(data, eval_rows)[: config.eval.batch_size]
        report = dry_run(
            plan,
            batches=batches(0),
            evaluate=lambda state: evaluator.logits(state.weights, data, rows),
            mesh=mesh,
        )
        logging.info("a dry run, nothing is written:\n%s", report)
        return {}
    if workdir.open_workdir(folder, fixed):
        logging.info("%s has finished its %d steps already", folder, total_steps)
        return workdir.read_results(folder)

    state = plan.create_state()
    logging.info(
        "%d parameters; %d clips to train on, %d to evaluate; %d steps on %d devices",
        sum(x.size for x in jax.tree.leaves(state.params)),
        len(train_rows),
        len(eval_rows),
        total_steps,
        mesh.size,
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
            train_step=plan.train_step,
            batches=batches,
            evaluate=lambda state: evaluator.metrics(state, data, eval_rows),
            observe=lambda step: (
                plan.rates(step) | sharding.sum_over_processes(crops.scalars())
            ),
            mesh=mesh,
            cadence=cadence,
            flops_per_clip=plan.flops_per_clip,
            checkpoints=checkpoints,
            card=card,
            writer=writer,
            profiler=profiler,
        )
        results = {
            "dataset": data.manifest["dataset"],
            "split": protocol.describe(data),
            "steps": total_steps,
            "train_clips": len(train_rows),
            "last": checkpoints.metrics(total_steps),
            "best_step": checkpoints.best_step,
            "best": checkpoints.metrics(checkpoints.best_step),
        }
    workdir.write_results(folder, results)
    return results


def make_recipe(
    config: ConfigDict,
    model: models.AemNet,
    mesh: Mesh,
    teaching: "Teaching",
    *,
    total_steps: int,
    multi_label: bool,
) -> recipe.Recipe:
    """How the config trains a model."""
    return recipe.create(
        model,
        mesh,
        seed=config.seed,
        total_steps=total_steps,
        num_classes=config.model.num_classes,
        multi_label=multi_label,
        crop_samples=round(config.data.crop_s * SAMPLE_RATE),
        optimizer_options=config.optimizer.to_dict(),
        schedule_options=config.schedule.to_dict(),
        augment_options=config.augment.to_dict(),
        loss_options=config.loss.to_dict(),
        microbatches=config.train.microbatches,
        remat=config.train.remat,
        ema_decay=config.train.ema_decay,
        distillation=teaching.distillation,
        teacher=teaching.weights,
    )


@dataclasses.dataclass(frozen=True)
class Teaching:
    """What the config says of a teacher; all None where it names none.

    Attributes:
      distillation: how its outputs are learnt.
      weights: of its network, where that runs in the step.
      labels: that the network knows.
      step: of the checkpoint that it is.
    """

    distillation: Distillation | None = None
    weights: dict | None = None
    labels: list[str] | None = None
    step: int | None = None


def open_teaching(config: ConfigDict, multi_label: bool, mesh: Mesh) -> Teaching:
    """Loads the teacher's network, if there is one.

    Raises:
      ValueError: if there are a network and stored outputs, or neither but a weight for
        them, or no such checkpoint.
    """
    options = config.distill.to_dict()
    run, logits = options.pop("teacher"), options.pop("logits")
    if run and logits:
        raise ValueError(
            f"distill names a teacher, {run}, and stored logits, {logits}; empty one"
        )
    if bool(run or logits) != ((weight := options["teacher_weight"]) > 0):
        raise ValueError(
            f"distill.teacher_weight is {weight}, distill.teacher {run!r} and "
            f"distill.logits {logits!r}; a teacher needs a weight above 0, and no "
            "teacher the weight 0"
        )
    if not (run or logits) and (weight := options["label_weight"]) != 1:
        raise ValueError(
            f"distill.label_weight is {weight}, but there is no teacher; set it to 1, or "
            "name one"
        )
    distillation = Distillation(multi_label, **options)
    if logits:
        return Teaching(distillation)
    if not run:
        return Teaching()
    weights, card, step = checkpoint.load(run)
    logging.info("taught by step %d of %s", step, run)
    network = models.create(**card.model)
    replicated, _ = sharding.shardings(mesh)
    return Teaching(
        dataclasses.replace(distillation, teacher=network),
        jax.device_put(weights, replicated),
        card.labels,
        step,
    )
