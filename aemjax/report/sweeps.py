"""Sweeps that a report is about, read from their folders."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from aemjax.data.folders import AnyPath, as_path
from aemjax.report.runs import read_run

SWEEP = "sweep.json"
STATES = ("complete", "pruned", "failed", "running")


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial of a sweep; value, deviation and interval are None where there is none."""

    number: int
    parameters: Mapping[str, Any]
    state: str
    value: int | float | None
    std: int | float | None
    interval: tuple[int | float, int | float] | None
    error: str | None = None  # of one that failed


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A search over fields of a config.

    Attributes:
      path, name: as of `Run`.
      metric, direction: what was searched for; "maximize" or "minimize".
      select: the epoch that scores a trial, "best" or "last".
      parameters: fields of the config.
      trials: in their order.
      selected_on: the clips that chose each best step and the best trial, in words; None
        where no trial was finished.
      facts: `Run.facts` of one of its finished trials; empty where none is found.
    """

    path: AnyPath
    name: str
    metric: str
    direction: str
    select: str
    parameters: tuple[str, ...]
    trials: tuple[Trial, ...]
    facts: Mapping[str, Any]
    selected_on: str | None = None

    @property
    def complete(self) -> list[Trial]:
        return [t for t in self.trials if t.state == "complete" and t.value is not None]

    @property
    def best(self) -> Trial | None:
        """The first of the best; None where no trial was finished."""
        sign = -1 if self.direction == "maximize" else 1
        return min(self.complete, key=lambda t: sign * t.value, default=None)


def read_sweep(folder: str | AnyPath, *, name: str | None = None) -> Sweep:
    """A sweep whose trials have all ended.

    Args:
      name: of the sweep; None: its folder's.

    Raises:
      ValueError: if the folder holds none, or one that still runs.
    """
    path = as_path(folder)
    try:
        about = json.loads((path / SWEEP).read_text())
        sweep = parse_sweep(about, path, name=name)
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path / SWEEP} is damaged ({error!r}); run the sweep's command again"
        ) from error
    if unknown := {trial.state for trial in sweep.trials} - {*STATES}:
        raise ValueError(
            f"{path / SWEEP}: unknown trial states {sorted(unknown)}; known: {STATES}"
        )
    if any(trial.state == "running" for trial in sweep.trials):
        raise ValueError(
            f"{path} is a sweep with trials that still run; wait for it, or run its "
            "command again"
        )
    return sweep


def parse_sweep(
    about: Mapping[str, Any], folder: AnyPath, *, name: str | None = None
) -> Sweep:
    """A sweep from what its sweep.json holds, its trials in whatever state.

    Raises:
      KeyError: if something is not there.
    """
    trials = tuple(
        Trial(
            trial["number"],
            trial["parameters"],
            trial["state"],
            trial.get("value"),
            trial.get("std"),
            tuple(trial["interval"]) if trial.get("interval") else None,
            trial.get("error"),
        )
        for trial in about["trials"]
    )
    return Sweep(
        folder,
        name or folder.name,
        about["metric"],
        about["direction"],
        about.get("select", "best"),
        tuple(about["parameters"]),
        trials,
        _trial_facts(folder, about["trials"]),
        about.get("selected_on"),
    )


def _trial_facts(path: AnyPath, trials: Iterable[Mapping[str, Any]]) -> dict:
    """Facts that hold for every finished trial are read from the first one's folder."""
    for trial in trials:
        folder = path / trial["folder"] if trial.get("folder") else None
        if folder is not None and (folder / "results.json").is_file():
            return read_run(folder).facts
    return {}
