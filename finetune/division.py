"""Training by one division of a set, and what it scores."""

import dataclasses
import math
from collections.abc import Callable

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline, sampling
from aemjax.data.folders import AnyPath
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Division
from aemjax.train import calibration, checkpoint, metrics, sharding
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.evaluate import Evaluator, intervals, score
from aemjax.train.loop import Cadence, eval_interval, fit
from aemjax.train.profiler import Profiler
from aemjax.train.recipe import Recipe
from aemjax.train.state import TrainState, with_ema
from aemjax.train.writer import open_writer


@dataclasses.dataclass(frozen=True)
class Job:
    """What the divisions of a run have in common.

    Attributes:
      plan: (total steps, division) -> how to train; one compiled step for equal sizes.
      source: weights to start from; None: from scratch.
      observe_evaluation: of `finetune.train.train`.
    """

    config: ConfigDict
    data: PreparedSet
    mesh: Mesh
    evaluator: Evaluator
    plan: Callable[[int, Division], Recipe]
    source: dict | None
    profiler: Profiler
    observe_evaluation: Callable[[int, int, dict], None] | None = None

    def total_steps(self, division: Division) -> int:
        train = self.config.train
        return max(1, round(train.epochs * len(division.train) / train.batch_size))


def crops(config: ConfigDict, data: PreparedSet, division: Division):
    """The batches to train on."""
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


def train_division(
    job: Job, division: Division, folder: AnyPath, *, index: int
) -> dict[str, object]:
    """Trains into `folder`; returns the numbers of clips, and what `_Scores` gives.

    Args:
      index: of the division in its run.
    """
    config, data = job.config, job.data
    total_steps = job.total_steps(division)
    how = job.plan(total_steps, division)
    cadence = Cadence(
        total_steps=total_steps,
        eval_every_steps=eval_interval(
            total_steps, config.train.epochs, config.eval.every_epochs
        ),
        save_every_steps=config.checkpoint.every_steps,
        log_every_steps=config.train.log_every_steps,
        hang_timeout_s=config.train.hang_timeout_s,
    )
    batches = crops(config, data, division)
    chosen_on = division.eval if division.validation is None else division.validation

    def evaluate(state: TrainState) -> dict:
        found = job.evaluator.metrics(state, data, chosen_on)
        if job.observe_evaluation is not None:
            number = math.ceil(int(state.step) / cadence.eval_every_steps)
            job.observe_evaluation(index, number, found)
        return found

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
            _start(job, how),
            train_step=how.train_step,
            batches=lambda step: pipeline.train_batches(
                batches, start_step=step, threads=config.data.threads
            ),
            evaluate=evaluate,
            observe=lambda step: (
                how.rates(step) | sharding.sum_over_processes(batches.scalars())
            ),
            mesh=job.mesh,
            cadence=cadence,
            flops_per_clip=how.flops_per_clip,
            checkpoints=checkpoints,
            card=card,
            writer=writer,
            profiler=job.profiler,
        )
        scores = _Scores(job, division, checkpoints)
        scored = {"best": (checkpoints.best_step, card.item)}
        scored["last"] = (total_steps, card.item)
        if config.train.ema_decay:
            scored["ema"] = (total_steps, "ema")
        # Some are the same weights: each is scored once.
        once = {x: scores.of(*x) for x in dict.fromkeys(scored.values())}
        results = {which: once[weights] for which, weights in scored.items()}
    for which, result in results.items():
        logging.info("%s: %s %s", folder, which, result["metrics"])
    return {
        "train_clips": len(division.train),
        "eval_clips": len(division.eval),
        "validation_clips": 0 if division.validation is None else len(chosen_on),
        "shared_groups": len(division.shared_groups),
    } | results


def _start(job: Job, how: Recipe) -> TrainState:
    state = how.create_state()
    if job.source is None:
        return state
    weights = checkpoint.merge(state.weights, job.source, job.config.init_patterns)
    replicated, _ = sharding.shardings(job.mesh)
    state = state.replace(**jax.device_put(weights, replicated))
    return state if state.ema is None else with_ema(state)


@dataclasses.dataclass(frozen=True)
class _Scores:
    """Scores checkpoints of a division on the clips that it evaluates on."""

    job: Job
    division: Division
    checkpoints: Checkpoints

    def of(self, step: int, item: str) -> dict[str, object]:
        """{"step", "metrics", "intervals", "confusion", "validation", "calibrated"}.

        Intervals need `eval.resamples`, a confusion matrix one label per clip, the last
        two clips for validation.

        Args:
          item: of the checkpoint, "weights" or "ema".
        """
        config, data = self.job.config, self.job.data
        weights = self.checkpoints.load_weights(step, item)
        rows, logits = self.job.evaluator.logits(weights, data, self.division.eval)
        about = {"step": step, "metrics": score(data, rows, logits)}
        if resamples := config.eval.resamples:
            about["intervals"] = intervals(
                data, rows, logits, resamples=resamples, seed=config.seed
            )
        labels = data.labels_multi_hot(rows)
        if not data.multi_label:
            about["confusion"] = metrics.confusion_matrix(logits, labels)
        if self.division.validation is not None:
            about["validation"] = self._validation(step, item)
            known = self.job.evaluator.logits(weights, data, self.division.validation)
            about["calibrated"] = calibration.calibrate(
                known[1],
                data.labels_multi_hot(known[0]),
                logits,
                labels,
                multi_label=data.multi_label,
                positive=data.class_of("positive_class"),
            )
        return about

    def _validation(self, step: int, item: str) -> float:
        """The metric that selects, on the clips for it."""
        name = self.job.config.checkpoint.metric.removeprefix("ema_")
        prefix = "ema_" if item == "ema" else ""
        return self.checkpoints.metrics(step)[prefix + name]
