"""Figures of an inspected set, as PNG files."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aemjax.data.inspect import MAX_CLASSES, Inspection
from aemjax.report.png import save_png


def write_figures(inspection: Inspection, folder: str | Path) -> list[Path]:
    """Writes clips.png and audio.png into `folder`, which is made; returns their paths.

    Raises:
      OSError: if they cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"clips.png": _clips(inspection), "audio.png": _audio(inspection)}
    for name, figure in figures.items():
        save_png(figure, folder / name)
    return [folder / name for name in figures]


def _clips(inspection: Inspection) -> Figure:
    """Clips per class and split; of many classes, by rank."""
    splits = {
        part: per_class
        for part, per_class in inspection.clips_per_class.items()
        if ":" not in part
    }
    classes = list(next(iter(splits.values())))
    many = len(classes) > MAX_CLASSES
    figure = Figure(
        figsize=(8, 5 if many else 2 + 0.22 * len(classes) * len(splits)),
        layout="constrained",
    )
    axes = figure.subplots()
    if many:
        for split, per_class in splits.items():
            axes.plot(sorted(per_class.values(), reverse=True), label=split)
        axes.set_yscale("symlog")
        axes.set(xlabel="classes, most frequent first", ylabel="clips")
    else:
        _class_bars(axes, splits, inspection.published["per_class"])
    axes.set_title(f"{inspection.dataset}: {inspection.clips} clips", parse_math=False)
    axes.legend()
    return figure


def _class_bars(axes: Axes, splits: dict, published: dict) -> None:
    classes = list(next(iter(splits.values())))
    height = 0.8 / len(splits)
    for number, (split, per_class) in enumerate(splits.items()):
        at = np.arange(len(classes)) + (number - (len(splits) - 1) / 2) * height
        axes.barh(at, list(per_class.values()), height, label=split)
        if split in published:
            want = [published[split].get(name, 0) for name in classes]
            label = f"{split}, published"
            axes.plot(want, at, "k|", markersize=8, label=label)
    axes.set_yticks(range(len(classes)), classes, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("clips")


def _audio(inspection: Inspection) -> Figure:
    """Durations, levels, and rates of the files."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    durations, levels, rates = figure.subplots(1, 3)
    durations.stairs(inspection.duration_clips, inspection.duration_edges_s, fill=True)
    durations.set(xlabel="duration (s)", ylabel="clips")
    levels.stairs(inspection.level_clips, inspection.level_edges_db, fill=True)
    levels.set(xlabel="standard deviation (dB of full scale)")
    rates.bar(
        [str(rate) for rate in inspection.source_rates],
        list(inspection.source_rates.values()),
    )
    rates.set(xlabel="rate of the file (Hz)")
    rates.tick_params("x", rotation=90)
    return figure
