"""Trains once for every value of some fields of a config, and says which is best.

    python -m finetune.sweep --config configs/finetune/icbhi.py:official --workdir DIR \
        --config.data.path=SET --config.init_from=RUN \
        --param optimizer.lr_fraction=0.1:1.0:0.1

docs/sweeps.md has the rest.
"""

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import optuna
from absl import flags
from ml_collections import ConfigDict
from sqlalchemy.exc import SQLAlchemyError

from aemjax.data.folders import as_path, is_remote
from aemjax.data.prepared import PreparedSet
from aemjax.report.sweep_figures import save_sweep_figure
from aemjax.report.sweeps import parse_sweep
from aemjax.train import job, workdir
from aemjax.train.termination import ending_on_sigterm
from finetune import sweep_report
from finetune.search_space import Parameter, parse, with_values
from finetune.train import train
from finetune.trial import run_trial
from finetune.trials import SAMPLERS, Trials, open_trials, own_database

SELECT = ("best", "last")
UNDER_WAY = "a trial was under way; the same command goes on with it"
FIGURE = "sweep.png"


def sweep(
    config: ConfigDict,
    folder: str | Path,
    *,
    params: Sequence[str],
    sampler: str | None = None,
    trials: int | None = None,
    storage: str | None = None,
    study: str | None = None,
    seed: int = 0,
    select: str = "best",
    prune: bool | None = None,
    prune_after: int = 5,
    run: Callable[..., dict] = train,
) -> dict:
    """Trains every trial that is left into `folder`/trial{n}; returns sweep.json.

    Args:
      params: "FIELD=VALUES", as `search_space.parse` takes them.
      sampler: grid, random or tpe; None: grid where all have steps, else tpe.
      trials: how many in all, finished ones included; a grid has as many as points.
      storage: URL of a database; None: a SQLite file in `folder`.
      study: its name there; None: that of the folder.
      seed: of what random and tpe draw; `config.seed` is that of each training.
      select: which step of each division is scored, best or last.
      prune: stop a trial whose best evaluation so far is below the median of the others
        then; None: but not in a grid.
      prune_after: trials to finish before one is stopped.
      run: what trains, with `train`'s arguments.

    Raises:
      ValueError: on an option, config or folder that does not fit, or if all fail.
      Preempted: after SIGTERM; the trial goes on when it is called again.
    """
    folder = as_path(folder)
    if is_remote(folder):
        raise ValueError(f"{folder}: a sweep locks its folder; name a local one")
    if select not in SELECT:
        raise ValueError(f"unknown select {select!r}; known: {', '.join(SELECT)}")
    parameters = parse_all(config, params)
    sampler = _sampler(sampler, trials, parameters)
    prune = sampler != "grid" if prune is None else prune
    if prune and config.train.runs_at_once > 1:
        raise ValueError(
            f"train.runs_at_once is {config.train.runs_at_once}: runs side by side tell "
            "too late which trial to stop; add --noprune, or train one at a time"
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    facts = {
        **config.to_dict(),
        "sweep": {
            "parameters": {p.field: p.text for p in parameters},
            "sampler": sampler,
            "select": select,
            "prune_after": prune_after if prune else None,
            "seed": seed if sampler != "grid" else None,
        },
    }
    if "data.path" not in facts["sweep"]["parameters"]:
        facts["data_fingerprint"] = PreparedSet(config.data.path).fingerprint
    facts = json.loads(json.dumps(facts))
    workdir.open_workdir(folder, facts)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with (
            contextlib.closing(
                open_trials(
                    folder,
                    facts,
                    url=storage or own_database(folder),
                    name=study or folder.name,
                    parameters=parameters,
                    sampler=sampler,
                    total=trials,
                    seed=seed,
                )
            ) as queue,
            ending_on_sigterm(UNDER_WAY) as check,
        ):
            while _train_next(
                queue,
                config=config,
                select=select,
                prune_after=prune_after if prune else None,
                run=run,
                check=check,
            ):
                _write(queue, config, select)
                check()
            return _finish(queue, config, select)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise OSError(
            f"the study's database fails: {str(error).splitlines()[0]}; what has trained "
            "is intact, start the same command again"
        ) from error


def parse_all(config: ConfigDict, params: Sequence[str]) -> tuple[Parameter, ...]:
    """The parameters of a sweep.

    Raises:
      ValueError: if there are none, one twice, or what scores are compared by.
    """
    parameters = tuple(parse(config, text) for text in params)
    fields = [parameter.field for parameter in parameters]
    if not fields:
        raise ValueError("no --param; name one as optimizer.lr_fraction=0.1:1.0:0.1")
    if len(set(fields)) < len(fields):
        raise ValueError(f"--param names a field twice: {', '.join(fields)}")
    for field in ("checkpoint.metric", "data.validation_share"):
        if field in fields:
            raise ValueError(f"{field} says what trials are compared by; fix it")
    return parameters


def _sampler(
    name: str | None, trials: int | None, parameters: Sequence[Parameter]
) -> str:
    stepped = all(parameter.values for parameter in parameters)
    name = name or ("grid" if stepped else "tpe")
    if name not in SAMPLERS:
        raise ValueError(f"unknown sampler {name!r}; known: {', '.join(SAMPLERS)}")
    if name != "grid" and (trials is None or trials < 1):
        raise ValueError(f"trials is {trials}; sampler {name} needs --trials=N, N > 0")
    if name == "grid":
        for parameter in parameters:
            parameter.check_steps()
        if trials is not None:
            raise ValueError(
                f"trials is {trials}, but a grid has as many as points; leave --trials "
                "out, or take --sampler=random"
            )
    return name


def _train_next(queue: Trials, **options) -> bool:
    """Whether there was a trial left to train."""
    with queue.next() as claimed:
        if claimed is None:
            return False
        run_trial(queue, *claimed, **options)
        return True


def _write(queue: Trials, config: ConfigDict, select: str) -> dict:
    with queue.locked():
        content = sweep_report.content(queue, config.checkpoint.metric, select)
        sweep_report.write(queue.folder, content)
    return content


def _finish(queue: Trials, config: ConfigDict, select: str) -> dict:
    content = _write(queue, config, select)
    states = [trial["state"] for trial in content["trials"]]
    if states and set(states) == {"failed"}:
        first = content["trials"][0]["error"].partition("\n")[0]
        raise ValueError(
            f"all {len(states)} trials failed, the first with: {first}; mend that and "
            "take another --workdir"
        )
    found = parse_sweep(content, queue.folder)
    with queue.locked():
        save_sweep_figure(found, queue.folder / FIGURE)
    print(sweep_report.table(found, waiting=content["waiting"]))
    return content


def main() -> None:
    """The command line; that of `python -m finetune`, and what to sweep."""
    params = flags.DEFINE_multi_string(
        "param", [], "FIELD=LOW:HIGH:STEP, LOW:HIGH, LOW:HIGH:log or A,B,C"
    )
    sampler = flags.DEFINE_enum(
        "sampler", None, SAMPLERS, "grid where all have steps, else tpe"
    )
    trials = flags.DEFINE_integer("trials", None, "how many in all; not of a grid")
    storage = flags.DEFINE_string(
        "storage", None, "database of the study, as postgresql+psycopg://USER@HOST/NAME"
    )
    study = flags.DEFINE_string("study", None, "its name there; the folder's")
    seed = flags.DEFINE_integer("seed", 0, "of what random and tpe draw")
    select = flags.DEFINE_enum("select", "best", SELECT, "which step is scored")
    prune = flags.DEFINE_bool(
        "prune", None, "stop what is below the median; by default not in a grid"
    )
    prune_after = flags.DEFINE_integer(
        "prune_after", 5, "trials to finish before one is stopped"
    )

    def run(
        config: ConfigDict,
        folder: str,
        *,
        profile_steps: tuple[int, int] | None,
        dry: bool,
    ) -> None:
        if jax.process_count() > 1:
            raise ValueError(
                "a trial trains in one process; start this command several times, each "
                "alone, on one --workdir"
            )
        if profile_steps:
            raise ValueError("--profile_steps is for one run, of python -m finetune")
        if dry:
            first = {
                parameter.field: parameter.values[0]
                if parameter.values
                else parameter.low
                for parameter in parse_all(config, params.value)
            }
            train(with_values(config, first), folder, dry=True)
            return
        sweep(
            config,
            folder,
            params=params.value,
            sampler=sampler.value,
            trials=trials.value,
            storage=storage.value,
            study=study.value,
            seed=seed.value,
            select=select.value,
            prune=prune.value,
            prune_after=prune_after.value,
        )

    job.main(run)


if __name__ == "__main__":
    main()
