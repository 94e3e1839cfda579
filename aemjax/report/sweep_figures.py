"""Figures of a sweep: its score against what was searched over."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aemjax.report.figures import ACCENT
from aemjax.report.png import save_png
from aemjax.report.published import ICBHI, ICBHI_DIVISIONS, RATES, TABLE8_VALUES
from aemjax.report.runs import AVERAGED, agrees
from aemjax.report.svg import INK, new_figure, to_svg
from aemjax.report.sweeps import Sweep, Trial

LR_SHARE = "optimizer.lr_fraction"
PLACE = {"Se": 0, "Sp": 1, "AS": 2}  # of a metric in a row of Table 8


def sweep_figure(sweep: Sweep) -> str | None:
    """The score against one parameter, a heat map of two, or parallel axes of more.

    None where no trial is complete.
    """
    if not sweep.complete:
        return None
    with new_figure(*_size(sweep)) as figure:
        _draw(figure, sweep)
        return to_svg(figure)


def save_sweep_figure(sweep: Sweep, path: Path) -> None:
    """The same as a PNG file; nothing where no trial is complete."""
    if sweep.complete:
        with new_figure(*_size(sweep)) as figure:
            _draw(figure, sweep)
            save_png(figure, path)


def _size(sweep: Sweep) -> tuple[float, float]:
    return max(6.5, 1.6 * len(sweep.parameters)), 3.6


def _draw(figure: Figure, sweep: Sweep) -> None:
    by_count = {1: _curve, 2: _heat_map}
    by_count.get(len(sweep.parameters), _parallel)(figure.subplots(), sweep)


def published_curve(sweep: Sweep) -> dict[str, list[tuple[int | float, int | float]]]:
    """{division: (LR share, score)} of Table 8, where the sweep repeats its rows."""
    place = PLACE.get(sweep.metric.removeprefix(AVERAGED))
    if sweep.parameters != (LR_SHARE,) or place is None:
        return {}
    return {
        division: [
            (rate, values[place])
            for rate, values in zip(RATES, TABLE8_VALUES[division], strict=True)
            if rate is not None
        ]
        for division, own in ICBHI_DIVISIONS.items()
        if agrees(sweep.facts, ICBHI | own)
    }


def _curve(axes: Axes, sweep: Sweep) -> None:
    (name,) = sweep.parameters
    trials = sorted(sweep.complete, key=lambda t: _order(t.parameters[name]))
    at = _positions(axes.set_xticks, axes.set_xscale, name, trials)
    values = np.array([trial.value for trial in trials])
    axes.plot(at, values, "o-", color=ACCENT, label="ours")
    for x, trial in zip(at, trials, strict=True):
        if trial.interval is not None:
            axes.vlines(x, *trial.interval, color=ACCENT, alpha=0.5)
    lines = published_curve(sweep)
    for division, points in lines.items():
        x, y = zip(*points, strict=True)
        axes.plot(x, y, "s--", color="#e07b39", label=f"published, {division}")
    axes.set(xlabel=name, ylabel=sweep.metric)
    axes.grid(alpha=0.15, color=INK)
    if lines:
        axes.legend()


def _heat_map(axes: Axes, sweep: Sweep) -> None:
    across, down = sweep.parameters
    columns, rows = (
        sorted({trial.parameters[name] for trial in sweep.complete}, key=_order)
        for name in (across, down)
    )
    cells = _cell_means(sweep.complete, across, down)
    grid = np.full((len(rows), len(columns)), np.nan)
    for (column, row), value in cells.items():
        grid[rows.index(row), columns.index(column)] = value
    image = axes.imshow(grid, aspect="auto", cmap="viridis", interpolation="nearest")
    low, high = np.nanmin(grid), np.nanmax(grid)
    for i, j in np.argwhere(~np.isnan(grid)):
        color = "black" if grid[i, j] > (low + high) / 2 else "white"
        axes.text(j, i, f"{grid[i, j]:.3f}", ha="center", va="center", color=color)
    axes.set_xticks(range(len(columns)), map(_text, columns))
    axes.set_yticks(range(len(rows)), map(_text, rows))
    axes.set(xlabel=across, ylabel=down)
    bar = axes.figure.colorbar(image, ax=axes, label=sweep.metric)
    bar.solids.set_edgecolor("none")


def _parallel(axes: Axes, sweep: Sweep) -> None:
    """A line per trial over an axis per parameter, coloured by its score."""
    trials, names = sweep.complete, sweep.parameters
    scores = [trial.value for trial in trials]
    heights = np.empty((len(trials), len(names)))
    for column, name in enumerate(names):
        values = sorted({trial.parameters[name] for trial in trials}, key=_order)
        if all(map(_is_number, values)):
            at = [trial.parameters[name] for trial in trials]
        else:
            at = [values.index(trial.parameters[name]) for trial in trials]
        heights[:, column] = (np.array(at) - min(at)) / ((max(at) - min(at)) or 1)
        axes.axvline(column, color=INK, linewidth=0.8, alpha=0.5)
        for height, value in ((-0.06, values[0]), (1.03, values[-1])):
            axes.text(column, height, _text(value), ha="center", fontsize=8)
    ends = np.full(len(trials), len(names) - 1.0)
    bar = axes.figure.colorbar(
        axes.scatter(ends, heights[:, -1], c=scores), ax=axes, label=sweep.metric
    )
    bar.solids.set_edgecolor("none")
    for line, score in zip(heights, scores, strict=True):
        axes.plot(range(len(names)), line, color=bar.cmap(bar.norm(score)))
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.12, 1.12)
    axes.set_yticks([])


def _cell_means(
    trials: Sequence[Trial], across: str, down: str
) -> Mapping[tuple, int | float]:
    """The mean score of the trials of each pair of values."""
    found = {}
    for trial in trials:
        pair = trial.parameters[across], trial.parameters[down]
        found.setdefault(pair, []).append(trial.value)
    return {pair: float(np.mean(values)) for pair, values in found.items()}


def _positions(set_ticks, set_scale, name: str, trials: Sequence[Trial]) -> list:
    """Where the values are on the axis: numbers as they are, others one by one."""
    values = [trial.parameters[name] for trial in trials]
    if not all(_is_number(value) for value in values):
        texts = list(dict.fromkeys(map(_text, values)))
        set_ticks(range(len(texts)), texts)
        return [texts.index(_text(value)) for value in values]
    if min(values) > 0 and max(values) >= 100 * min(values):
        set_scale("log")
    return values


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(value) -> tuple:
    return (0, value, "") if _is_number(value) else (1, 0, str(value))


def _text(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
