"""One trial of a sweep: what it trains, reports and scores."""

from collections.abc import Callable, Mapping

import jax
import optuna
from absl import logging
from ml_collections import ConfigDict
from optuna.trial import TrialState

from aemjax.train import limits
from aemjax.train.intervals import over_folds
from aemjax.train.loop import evaluations as evaluations_of
from finetune.search_space import Value, with_values
from finetune.summary import spread
from finetune.trials import Trials

# The share of a division's evaluations in which no trial is stopped.
WARMUP = 0.25


def run_trial(
    queue: Trials,
    trial: optuna.Trial,
    values: dict[str, Value],
    *,
    config: ConfigDict,
    select: str,
    prune_after: int | None,
    run: Callable[..., dict],
    check: Callable[[], None],
) -> None:
    """Trains one trial and tells the study its score, or that it failed or was stopped.

    Args:
      select: which step of each division is scored, best or last.
      prune_after: trials to finish before one is stopped; None: none is.
      run: what trains, with `finetune.train.train`'s arguments.
      check: of `ending_on_sigterm`.

    Raises:
      Preempted: after SIGTERM; the trial is then open still.
    """
    folder = queue.folder / f"trial{trial.number}"
    config = with_values(config, values)
    metric = config.checkpoint.metric
    shown = ", ".join(f"{field}={value}" for field, value in values.items())
    logging.info("trial %d: %s in %s", trial.number, shown, folder)
    reported = queue.reported(trial)

    def observe(division: int, evaluation: int, metrics: Mapping) -> None:
        check()
        at = division * evaluations + evaluation
        if metric in metrics and at not in reported:
            trial.report(metrics[metric], at)
            reported.add(at)
            # At its last evaluation a division has trained whole.
            if evaluation < evaluations and trial.should_prune():
                raise optuna.TrialPruned

    try:
        limits.check(config)  # what follows divides by its numbers
        evaluations = evaluations_of(config.train.epochs, config.eval.every_epochs)
        queue.study.pruner = _pruner(prune_after, evaluations)
        results = run(config, folder, observe_evaluation=observe)
    except optuna.TrialPruned:
        logging.info("trial %d is stopped: below the median", trial.number)
        queue.study.tell(trial, state=TrialState.PRUNED)
    except (ValueError, jax.errors.JaxRuntimeError) as error:  # the latter: memory
        logging.warning("trial %d failed: %s", trial.number, error)
        trial.set_user_attr("error", str(error))
        queue.study.tell(trial, state=TrialState.FAIL)
    else:
        score = _score(results, select)
        trial.set_user_attr("std", score["std"])
        trial.set_user_attr("interval", score["interval"])
        trial.set_user_attr("selected_on", results["selected_on"])
        queue.study.tell(trial, score["mean"])


def _pruner(after: int | None, evaluations: int) -> optuna.pruners.BasePruner:
    if after is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=after, n_warmup_steps=int(WARMUP * evaluations) + 1
    )


def _score(results: Mapping, select: str) -> Mapping:
    """{"mean", "std", "interval"} on the clips for validation, where there are any.

    The interval is over the divisions; of one division, over its clips.
    """
    metric, runs = results["metric"], results["runs"]
    found = [run[select] for run in runs]
    if "validation" in found[0]:
        folds = [run["fold"] for run in runs]
        return spread(over_folds([about["validation"] for about in found], folds))
    score = dict(results["summary"][select][metric])
    if len(runs) == 1:
        score["interval"] = found[0].get("intervals", {}).get(metric)
    return score
