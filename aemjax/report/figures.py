"""Figures of a run: confusion, learning curves, class shares, filters, a map of clips."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, hsv_to_rgb
from matplotlib.ticker import MaxNLocator

from aemjax.report.svg import INK, new_figure, to_svg

MAX_ANNOTATED = 12  # classes of a confusion matrix whose cells have room for counts
MAX_NAMED = 60
ACCENT = "#2f7ed8"
# Nothing to full, on whatever the page's background is.
SHADES = LinearSegmentedColormap.from_list("shades", [ACCENT + "00", ACCENT])

Curves = Mapping[str, tuple[list[int], list[int | float]]]


def confusion_figure(counts: Int[np.ndarray, "k k"], labels: Sequence[str]) -> str:
    """Clips by true class (row) and guess (column), shaded by share of the row."""
    k = len(labels)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    side = min(9.0, 1.4 + 0.33 * k) if k <= MAX_ANNOTATED else min(9.0, 2.2 + 0.14 * k)
    with new_figure(side + 0.6, side) as figure:
        axes = figure.subplots()
        image = axes.imshow(
            shares, cmap=SHADES, vmin=0, vmax=1, interpolation="nearest"
        )
        if k <= MAX_ANNOTATED:
            for i, j in np.argwhere(counts):
                color = "white" if shares[i, j] > 0.6 else INK
                axes.text(j, i, counts[i, j], ha="center", va="center", color=color)
        axes.set(xlabel="guess", ylabel="true class")
        if k <= MAX_NAMED:
            size = 9 if k <= 20 else 6.5
            axes.set_xticks(range(k), labels, rotation=90, fontsize=size)
            axes.set_yticks(range(k), labels, fontsize=size)
        axes.spines[["top", "right"]].set_visible(True)
        bar = figure.colorbar(
            image, ax=axes, shrink=0.6, label="share of the true class"
        )
        bar.solids.set_edgecolor("none")
        return to_svg(figure)


def curves_figure(panels: Mapping[str, Curves]) -> str:
    """A panel per quantity against the step: thin lines of folds, their mean in bold."""
    with new_figure(4.2 * len(panels), 2.8) as figure:
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (key, curves) in zip(every, panels.items(), strict=True):
            _curves(axes, curves)
            axes.set(xlabel="step", ylabel=key)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.grid(alpha=0.15, color=INK)
        return to_svg(figure)


def _curves(axes: Axes, curves: Curves) -> None:
    several = len(curves) > 1
    for steps, values in curves.values():
        axes.plot(
            steps,
            values,
            color=ACCENT,
            linewidth=0.7 if several else 1.6,
            alpha=0.6 if several else 1,
            marker="." if len(steps) == 1 else None,
        )
    if several:
        axes.plot(*mean_curve(curves), color="#e07b39", linewidth=2.0, label="mean")
        axes.legend()


def mean_curve(
    curves: Curves,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """(steps, mean over folds), where every fold has values.

    Folds that log at other steps, being of other sizes, are interpolated.
    """
    first = max(steps[0] for steps, _ in curves.values())
    last = min(steps[-1] for steps, _ in curves.values())
    every = np.unique(np.concatenate([steps for steps, _ in curves.values()]))
    at = every[(every >= first) & (every <= last)].astype(float)
    return at, np.mean([np.interp(at, *curve) for curve in curves.values()], axis=0)


def shares_figure(
    counts: Mapping[str, Int[np.ndarray, "k"]],
    labels: Sequence[str],
    *,
    unit: str = "clips",
) -> str:
    """Each class' share of every split; of more than 60 classes by rank.

    Args:
      unit: what is counted; "labels", where a clip has several.
    """
    shares = {split: 100 * n / n.sum() for split, n in counts.items()}
    many = len(labels) > MAX_NAMED
    height = 3.0 if many else 1.0 + 0.17 * len(labels) * len(shares)
    with new_figure(6.5, height) as figure:
        axes = figure.subplots()
        for number, (split, values) in enumerate(shares.items()):
            name = f"{split}, {counts[split].sum():,} {unit}"
            if many:
                axes.plot(np.sort(values)[::-1], label=name)
                continue
            thickness = 0.8 / len(shares)
            offset = (number - (len(shares) - 1) / 2) * thickness
            axes.barh(np.arange(len(labels)) + offset, values, thickness, label=name)
        if many:
            axes.set(xlabel="classes, most frequent first", ylabel=f"% of {unit}")
        else:
            axes.set_yticks(range(len(labels)), labels)
            axes.invert_yaxis()
            axes.set_xlabel(f"% of {unit}")
        figure.legend(loc="outside upper center", ncols=len(shares))
        return to_svg(figure)


def filters_figure(
    frequencies: Float[np.ndarray, "f"], decibels: Float[np.ndarray, "c f"]
) -> str:
    """Responses of `filters.responses`, a column per filter."""
    with new_figure(6.5, 3.2) as figure:
        axes = figure.subplots()
        image = axes.imshow(
            decibels.T,
            aspect="auto",
            origin="lower",
            extent=(0.5, len(decibels) + 0.5, 0, frequencies[-1] / 1000),
            vmin=-40,
            vmax=0,
            cmap="magma",
            interpolation="nearest",
        )
        axes.set(xlabel="filter, by centre frequency", ylabel="frequency (kHz)")
        label = "dB of each filter's peak"
        bar = figure.colorbar(image, ax=axes, label=label, extend="min")
        bar.solids.set_edgecolor("none")
        return to_svg(figure)


def map_figure(
    points: Float[np.ndarray, "n 2"],
    classes: Int[np.ndarray, "n"],
    labels: Sequence[str],
) -> str:
    """Clips as dots coloured by class; classes that none is of are not named."""
    present = np.unique(classes)
    hues = np.arange(len(present)) / max(1, len(present))
    few = len(present) <= 20
    with new_figure(7.5 if few else 6.5, 5.0) as figure:
        axes = figure.subplots()
        for hue, number in zip(hues, present, strict=True):
            own = points[classes == number]
            # Neighbours in hue alternate in lightness.
            color = _color(hue, 0.9 if number % 2 else 0.7)
            name = labels[number] if few else None
            axes.scatter(
                *own.T, s=22, color=color, linewidths=0, alpha=0.85, label=name
            )
            if not few:
                at = np.median(own, axis=0)
                axes.text(*at, labels[number], fontsize=6, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")
        axes.spines[["top", "right"]].set_visible(True)
        if few:
            figure.legend(loc="outside right upper")
        return to_svg(figure)


def _color(hue: int | float, value: int | float) -> tuple[float, float, float]:
    return tuple(float(x) for x in hsv_to_rgb((hue, 0.75, value)))
