"""Training by divisions of a set, and what it scores."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline, sampling
from aemjax.data.folders import AnyPath
from aemjax.data.prepared import PreparedSet
from aemjax.train import all_runs, calibration, metrics, sharding, side_by_side
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.evaluate import Evaluator, intervals, score
from aemjax.train.loop import Cadence, eval_interval, evaluations, fit
from aemjax.train.profiler import Profiler
from aemjax.train.recipe import Recipe
from aemjax.train.state import TrainState
from aemjax.train.writer import open_writer
from finetune.start import Run, Start, starting_state


@dataclasses.dataclass(frozen=True)
class Job:
    """What the runs of a command have in common.

    Attributes:
      recipe: with whatever seed.
      start: what the runs start from.
      observe_evaluation: of `finetune.train.train`.
    """

    config: ConfigDict
    data: PreparedSet
    mesh: Mesh
    evaluator: Evaluator
    recipe: Recipe
    start: Start
    profiler: Profiler
    observe_evaluation: Callable[[int, int, dict], None] | None = None


def crops(config: ConfigDict, data: PreparedSet, run: Run) -> pipeline.CropBatches:
    """The batches to train on."""
    return pipeline.CropBatches(
        data,
        run.division.train,
        config.train.batch_size,
        round(config.data.crop_s * SAMPLE_RATE),
        run.seed,
        order=sampling.order(
            config.data.sampling,
            data,
            run.division.train,
            seed=run.seed,
            offset=config.data.balance_offset,
        ),
        max_damaged=config.data.max_damaged,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def prepare(
    job: Job, runs: Sequence[Run]
) -> tuple[Recipe, pipeline.CropBatches | all_runs.Batches]:
    """How runs are trained, several side by side, and on which batches."""
    each = [crops(job.config, job.data, run) for run in runs]
    if len(runs) == 1:
        return job.recipe.with_seed(runs[0].seed), each[0]
    how = job.recipe.with_seed([run.seed for run in runs])
    return how, all_runs.Batches(each)


def train_runs(job: Job, runs: Sequence[Run], folder: AnyPath) -> list[dict]:
    """Trains runs, several side by side, each into a folder of its own in `folder`.

    Returns:
      Of each run its clips, and what `_Scores` gives.
    """
    config = job.config
    how, batches = prepare(job, runs)
    cadence = Cadence(
        total_steps=how.total_steps,
        eval_every_steps=eval_interval(
            how.total_steps, config.train.epochs, config.eval.every_epochs
        ),
        save_every_steps=config.checkpoint.every_steps,
        log_every_steps=config.train.log_every_steps,
        hang_timeout_s=config.train.hang_timeout_s,
    )

    def evaluate_one(run: Run, state: TrainState) -> dict:
        found = job.evaluator.metrics(state, job.data, run.division.chosen_on)
        if job.observe_evaluation is not None:
            number = math.ceil(int(state.step) / cadence.eval_every_steps)
            if state.step == how.total_steps:  # the last, though there may be fewer
                number = evaluations(config.train.epochs, config.eval.every_epochs)
            job.observe_evaluation(run.index, number, found)
        return found

    def evaluate(state: TrainState) -> dict:
        states = side_by_side.states_of(state, len(runs))
        found = [evaluate_one(*pair) for pair in zip(runs, states, strict=True)]
        return side_by_side.named(found) if len(runs) > 1 else found[0]

    card = Card.of_run(
        config.model.to_dict(), job.data.manifest, config.checkpoint.metric
    )
    with contextlib.ExitStack() as stack:
        own = [
            stack.enter_context(
                Checkpoints(
                    folder / run.name,
                    metric=config.checkpoint.metric,
                    # After a kill one may have a step more than another.
                    keep_latest=config.checkpoint.keep_latest + (len(runs) > 1),
                )
            )
            for run in runs
        ]
        checkpoints = all_runs.AllCheckpoints(own) if len(own) > 1 else own[0]
        start_step = checkpoints.latest_step or 0
        writers = [
            stack.enter_context(open_writer(folder / run.name, start_step=start_step))
            for run in runs
        ]
        fit(
            starting_state(job.start, how, runs, job.mesh),
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
            writer=all_runs.AllWriters(writers) if len(own) > 1 else writers[0],
            profiler=job.profiler,
        )
        return [
            _results(_Scores(job, run, one), how.total_steps, card.item)
            for run, one in zip(runs, own, strict=True)
        ]


def _results(scores: "_Scores", total_steps: int, item: str) -> dict[str, object]:
    scored = {
        "best": (scores.checkpoints.best_step, item),
        "last": (total_steps, item),
    }
    if scores.job.config.train.ema_decay:
        scored["ema"] = (total_steps, "ema")
    # Some are the same weights: each is scored once.
    once = {x: scores.of(*x) for x in dict.fromkeys(scored.values())}
    results = {which: once[weights] for which, weights in scored.items()}
    run = scores.run
    for which, result in results.items():
        logging.info("%s: %s %s", run.name, which, result["metrics"])
    return {
        "fold": run.division.number,
        "seed": run.seed,
        "train_clips": len(run.division.train),
        "eval_clips": len(run.division.eval),
        "validation_clips": 0
        if run.division.validation is None
        else len(run.division.validation),
        "shared_groups": len(run.division.shared_groups),
    } | results


@dataclasses.dataclass(frozen=True)
class _Scores:
    """Scores checkpoints of a run on the clips that it evaluates on."""

    job: Job
    run: Run
    checkpoints: Checkpoints

    def of(self, step: int, item: str) -> dict[str, object]:
        """{"step", "metrics", "intervals", "confusion", "validation", "calibrated"}.

        Intervals need `eval.resamples`, a confusion matrix one label per clip, the last
        two clips for validation.

        Args:
          item: of the checkpoint, "weights" or "ema".
        """
        config, data = self.job.config, self.job.data
        division = self.run.division
        weights = self.checkpoints.load_weights(step, item)
        rows, logits = self.job.evaluator.logits(weights, data, division.eval)
        about = {"step": step, "metrics": score(data, rows, logits)}
        if resamples := config.eval.resamples:
            about["intervals"] = intervals(
                data, rows, logits, resamples=resamples, seed=self.run.seed
            )
        labels = data.labels_multi_hot(rows)
        if not data.multi_label:
            about["confusion"] = metrics.confusion_matrix(logits, labels)
        if division.validation is not None:
            about["validation"] = self._validation(step, item)
            known = self.job.evaluator.logits(weights, data, division.validation)
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
