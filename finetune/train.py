"""Fine-tunes a pretrained embedder, or trains from scratch, by a division or all."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline
from aemjax.data.folders import AnyPath, as_path
from aemjax.data.inspect import check_before_training
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Division, Protocol, divide, hold_out
from aemjax.models.numerics import INT8
from aemjax.train import (
    limits,
    losses,
    metrics,
    param_groups,
    recipe,
    sharding,
    side_by_side,
    workdir,
)
from aemjax.train.dry_run import dry_run
from aemjax.train.evaluate import Evaluator
from aemjax.train.profiler import Profiler
from finetune import compressed
from finetune.division import Job, prepare, train_runs
from finetune.start import Run, read_start
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
    """Trains by every division, with every seed, into `folder`/fold{n}_seed{s}.

    Args:
      profile_steps: of `Profiler`, in each of them.
      dry: `dry_run` on the first instead, which leaves no folder.
      observe_evaluation: is told (index of the run, number of the evaluation in it from
        1, of the last `loop.evaluations`, metrics) before they are saved; what it raises
        ends the training.

    Returns:
      What results.json holds.

    Raises:
      ValueError: on a config, data set, checkpoint or folder that does not fit.
      Preempted: after SIGTERM.
    """
    limits.check(config)
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
    if config.quantize.run:
        config = config.copy_and_resolve_references()
        config.model.numerics = INT8
    metrics.check_name(
        config.checkpoint.metric, data, averaged=config.train.ema_decay > 0
    )
    protocol = protocol_of(config)
    divisions = divide(data, protocol)
    if share := config.data.validation_share:
        seed, grouped = config.data.split_seed, config.data.grouped
        divisions = [
            hold_out(data, division, share=share, seed=seed, grouped=grouped)
            for division in divisions
        ]
    runs = _runs(config, divisions, data)
    check_before_training(
        data, [run.division for run in runs if run.seed == config.seed]
    )
    model = models.create(**config.model)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, SAMPLE_RATE)))
    )
    optimizer_options = config.optimizer.to_dict()
    group_options = {key: optimizer_options.pop(key) for key in GROUP_OPTIONS}

    total_steps = _total_steps(config, divisions)
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
    how = recipe.create(
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
        loss_options=_loss_options(config, data, divisions),
        groups=groups,
        microbatches=config.train.microbatches,
        remat=config.train.remat,
        ema_decay=config.train.ema_decay,
    )
    profiler = Profiler(profile_steps, folder)
    start = read_start(config, shapes, groups)
    compressed.check(
        config,
        [run.name for run in runs],
        shapes["params"],
        groups,
        fingerprint=data.fingerprint,
    )
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
        how,
        start,
        profiler,
        observe_evaluation,
    )
    at_once = config.train.runs_at_once
    together = [runs[i : i + at_once] for i in range(0, len(runs), at_once)]
    if dry:
        first = runs[0].division
        rows = pipeline.longest_first(data, first.eval)[: config.eval.batch_size]
        how, batches = prepare(job, together[0])
        report = dry_run(
            how,
            batches=pipeline.train_batches(batches, threads=config.data.threads),
            evaluate=lambda state: job.evaluator.logits(
                side_by_side.states_of(state, len(together[0]))[0].weights, data, rows
            ),
            mesh=mesh,
        )
        logging.info("a dry run, nothing is written:\n%s", report)
        return {}
    fixed = config.to_dict() | {
        "data_fingerprint": data.fingerprint,
        "init_step": start.step,
    }
    if workdir.open_workdir(folder, fixed):
        logging.info("%s has finished its %d runs", folder, len(runs))
        return workdir.read_results(folder)
    with workdir.locked(folder):
        finished = [
            result
            for group in together
            for result in train_runs(job, group, as_path(folder))
        ]
    results = {
        "dataset": data.manifest["dataset"],
        "split": describe_split(config, data),
        "init_from": config.init_from,
        "init_step": start.step,
        "lr_fraction": config.optimizer.lr_fraction,
        "selected_on": _selected_on(config),
        "metric": config.checkpoint.metric.removeprefix("ema_"),
        "runs": finished,
        "summary": {
            which: summarize(finished, which)
            for which in ("best", "last", "ema")
            if which in finished[0]
        },
    }
    workdir.write_results(folder, results)
    return results


def protocol_of(config: ConfigDict) -> Protocol:
    """How `config.data` divides a set."""
    return Protocol(
        config.data.protocol,
        folds=config.data.folds,
        seed=config.data.split_seed,
        grouped=config.data.grouped,
        train=config.data.train,
        eval=config.data.eval,
    )


def describe_split(config: ConfigDict, data: PreparedSet) -> str:
    """The division in words, and which part of it was run alone."""
    protocol = protocol_of(config)
    one = "draw" if protocol.name == "draws" else "fold"
    alone = f", {one} {config.data.fold} alone" if config.data.fold else ""
    return protocol.describe(data) + alone


def _selected_on(config: ConfigDict) -> str:
    if share := config.data.validation_share:
        return f"{share:.0%} of the clips to train on, held out"
    return "the clips evaluated on"  # as the published work does


def _runs(
    config: ConfigDict, divisions: list[Division], data: PreparedSet
) -> list[Run]:
    """With every seed, the division that the config names, or each."""
    number = config.data.fold
    chosen = [division for division in divisions if number in (0, division.number)]
    if not chosen:
        raise ValueError(
            f"{data.path} has no fold {number}; it has {[d.number for d in divisions]}"
        )
    for name, value in (
        ("seeds", config.seeds),
        ("train.runs_at_once", config.train.runs_at_once),
    ):
        if value < 1:
            raise ValueError(f"{name} is {value}, expected 1 or more")
    seeds = range(config.seed, config.seed + config.seeds)
    pairs = itertools.product(seeds, chosen)
    return [Run(index, division, seed) for index, (seed, division) in enumerate(pairs)]


def _total_steps(config: ConfigDict, divisions: list[Division]) -> int:
    """The epochs' of the mean division: a step compiled for one trains by all."""
    clips = np.mean([len(division.train) for division in divisions])
    return max(1, round(config.train.epochs * clips / config.train.batch_size))


def _loss_options(
    config: ConfigDict, data: PreparedSet, divisions: list[Division]
) -> dict:
    """The options of `config.loss`; an empty alpha is filled in.

    It is that of the clips evaluated on, by all divisions together.
    """
    options = config.loss.to_dict()
    if options.get("alpha") == ():
        known = np.concatenate([division.chosen_on for division in divisions])
        options["alpha"] = losses.alpha_from_shares(data.labels_multi_hot(known))
    return options
