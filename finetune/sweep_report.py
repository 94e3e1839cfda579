"""What came of a sweep: sweep.json, a table, a plot."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from aemjax.data.folders import write_text
from finetune.search_space import Value
from finetune.trials import Trials

SWEEP = "sweep.json"
PLOT = "sweep.png"
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
        "waiting": max(len(begun), queue.total or 0) - len(found),
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


def table(content: Mapping[str, Any]) -> str:
    """The trials by score, best first; then how the best was chosen."""
    fields = content["parameters"]
    rows = [("trial", *fields, content["metric"], "std", "95 % interval", "state")]
    for entry in sorted(content["trials"], key=_rank):
        interval = entry["interval"]
        rows.append(
            (
                str(entry["number"]),
                *(_shown(entry["parameters"][field]) for field in fields),
                _number(entry["value"]),
                _number(entry["std"]),
                " to ".join(map(_number, interval)) if interval else "-",
                entry["state"],
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    if content["best"] is not None:
        lines.append(
            f"best: trial {content['best']}; chosen on {content['selected_on']}"
        )
    if content["waiting"]:
        lines.append(f"{content['waiting']} trials wait; the same command goes on")
    if content["select"] == "best" and content["selected_on"]:
        lines.append(
            f"{content['metric']} is that of the best step of each division, chosen on "
            f"{content['selected_on']}; --select=last is free of that choice"
        )
    return "\n".join(line.rstrip() for line in lines)


def _rank(entry: Mapping[str, Any]) -> tuple:
    value = entry["value"]
    return (value is None, -(value or 0), entry["number"])


def _shown(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def draw(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes sweep.png of the finished trials: a curve, a map, or parallel axes."""
    complete = [e for e in content["trials"] if e["state"] == "complete"]
    if not complete:
        return
    fields = content["parameters"]
    figure = Figure(figsize=(max(6.0, 2.0 * len(fields)), 4.5), layout="constrained")
    axes = figure.subplots()
    if len(fields) == 1:
        _curve(axes, fields[0], complete, content["metric"])
    elif len(fields) == 2:
        _map(figure, axes, fields, complete, content["metric"])
    else:
        _parallel(figure, axes, fields, complete, content["metric"])
    axes.set_title(
        f"{content['metric']}, {content['select']} step of each division",
        parse_math=False,
    )
    temporary = folder / f"{PLOT}.tmp"
    try:
        figure.savefig(temporary, format="png", dpi=120)
        os.replace(temporary, folder / PLOT)
    finally:
        temporary.unlink(missing_ok=True)


def _curve(axes: Axes, field: str, entries: Sequence[Mapping], metric: str) -> None:
    """Score against the values, with the intervals of those that have one."""
    at, ticks = _positions(field, entries)
    order = np.argsort(at)
    scores = np.array([entry["value"] for entry in entries])
    axes.plot(np.array(at)[order], scores[order], "o-" if ticks is None else "o")
    for x, entry in zip(at, entries, strict=True):
        if entry["interval"]:
            axes.vlines(x, *entry["interval"], alpha=0.6)
    axes.set_xscale(_scale(at))
    _label(axes.xaxis, field, ticks)
    axes.set_ylabel(metric)


def _map(
    figure: Figure, axes: Axes, fields: Sequence[str], entries: Sequence, metric: str
) -> None:
    """The score as the colour of a square at each pair of values."""
    (x, x_ticks), (y, y_ticks) = (_positions(field, entries) for field in fields)
    scores = [entry["value"] for entry in entries]
    drawn = axes.scatter(x, y, c=scores, s=500, marker="s")
    for left, bottom, score in zip(x, y, scores, strict=True):
        axes.annotate(
            f"{score:.3f}",
            (left, bottom),
            ha="center",
            va="center",
            fontsize=7,
            bbox={"boxstyle": "round,pad=0.1", "color": "white", "alpha": 0.6},
        )
    axes.set(xscale=_scale(x), yscale=_scale(y))
    axes.margins(0.15)
    _label(axes.xaxis, fields[0], x_ticks)
    _label(axes.yaxis, fields[1], y_ticks)
    figure.colorbar(drawn, label=metric)


def _parallel(
    figure: Figure, axes: Axes, fields: Sequence[str], entries: Sequence, metric: str
) -> None:
    """A line per trial over an axis per field, coloured by its score."""
    scores = np.array([entry["value"] for entry in entries])
    heights = np.empty((len(entries), len(fields)))
    for column, field in enumerate(fields):
        at, ticks = _positions(field, entries)
        low, high = min(at), max(at)
        heights[:, column] = (np.array(at) - low) / ((high - low) or 1)
        ends = (ticks[0], ticks[-1]) if ticks else (f"{low:.3g}", f"{high:.3g}")
        axes.axvline(column, color="grey", linewidth=0.8)
        for height, text in zip((-0.06, 1.03), ends, strict=True):
            axes.text(column, height, text, ha="center", fontsize=8, parse_math=False)
    colours = figure.colorbar(
        axes.scatter(
            np.repeat(len(fields) - 1.0, len(entries)), heights[:, -1], c=scores
        ),
        label=metric,
    )
    for line, score in zip(heights, scores, strict=True):
        colour = colours.cmap(colours.norm(score))
        axes.plot(range(len(fields)), line, color=colour)
    axes.set_xticks(range(len(fields)), fields, fontsize=8, parse_math=False)
    axes.set_ylim(-0.12, 1.12)
    axes.set_yticks([])


def _positions(
    field: str, entries: Sequence[Mapping]
) -> tuple[list[int | float], list[str] | None]:
    """Where each trial lies on an axis, and the names there if it is not of numbers."""
    values = [entry["parameters"][field] for entry in entries]
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return values, None
    names = sorted(map(str, set(values)))
    return [names.index(str(value)) for value in values], names


def _scale(at: Sequence[int | float]) -> str:
    return "log" if min(at) > 0 and max(at) >= 100 * min(at) else "linear"


def _label(axis, field: str, ticks: Sequence[str] | None) -> None:
    axis.set_label_text(field)
    if ticks is not None:
        axis.set_ticks(range(len(ticks)), ticks, parse_math=False)
