"""What came of a sweep: sweep.json, and a table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from aemjax.data.folders import write_text
from aemjax.report.sweeps import SWEEP, Sweep
from aemjax.report.tables import trials_table
from finetune.trials import Trials

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


def content(queue: Trials, metric: str, select: str) -> dict[str, Any]:
    """What sweep.json holds: each trial begun, how many wait, the number of the best."""
    begun = queue.study.get_trials(deepcopy=False)
    found = [
        _entry(trial, queue.folder)
        for trial in begun
        if trial.state in STATES and "values" in trial.user_attrs
    ]
    complete = [entry for entry in found if entry["state"] == "complete"]
    best = max(complete, key=lambda e: (e["value"], -e["number"]), default=None)
    selected_on = {
        trial.user_attrs["selected_on"]
        for trial in begun
        if "selected_on" in trial.user_attrs
    }
    return {
        "metric": metric,
        "select": select,
        "selected_on": ", ".join(sorted(selected_on)) or None,
        "direction": "maximize",
        "parameters": [parameter.field for parameter in queue.parameters],
        "trials": found,
        "waiting": max(0, (queue.total or len(begun)) - len(found)),
        "best": best and best["number"],
    }


def _entry(trial: FrozenTrial, folder: Path) -> dict[str, Any]:
    name = f"trial{trial.number}"
    about = trial.user_attrs
    complete = trial.state is TrialState.COMPLETE
    entry = {
        "number": trial.number,
        "parameters": about["values"],
        "state": STATES[trial.state],
        "value": trial.value if complete else None,
        "std": about.get("std"),
        "interval": about.get("interval"),
        # Of a trial on another machine, where it is.
        "folder": name if (folder / name).is_dir() else f"{about['place']}/{name}",
    }
    if "error" in about:
        entry["error"] = about["error"]
    return entry


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes sweep.json, whole or not at all."""
    write_text(folder / SWEEP, json.dumps(content, indent=2) + "\n")


def table(sweep: Sweep, *, waiting: int) -> str:
    """The trials by score, best first; then why some failed, how the best was chosen.

    Args:
      waiting: trials that are not begun.
    """
    lines = [trials_table(sweep).markdown()]
    lines += [f"trial {t.number} failed: {t.error}" for t in sweep.trials if t.error]
    if sweep.best is not None:
        lines.append(f"best: trial {sweep.best.number}; chosen on {sweep.selected_on}")
    if waiting:
        lines.append(f"{waiting} trials wait; the same command goes on")
    if sweep.select == "best" and sweep.selected_on:
        lines.append(
            f"{sweep.metric} is that of the best step of each division, chosen on "
            f"{sweep.selected_on}; --select=last is free of that choice"
        )
    return "\n".join(lines)
