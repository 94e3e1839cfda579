"""What a report says, section by section."""

from collections.abc import Sequence

from aemjax.report import published
from aemjax.report.comparison import class_weights, comparison, repeats_something
from aemjax.report.run_section import run_section
from aemjax.report.runs import EVALUATED, Run
from aemjax.report.section import Section
from aemjax.report.sweep_figures import published_curve, sweep_figure
from aemjax.report.sweeps import Sweep
from aemjax.report.tables import runs_table, trials_table

FLATTERING = (
    "The best trial was chosen on the clips that score it: its figures flatter."
)
EVERY_RUN = (
    "The best epoch and the last one, by the metric that each run was selected by. "
    "Several folds: mean ± sample deviation, and Student's t interval of the mean, which "
    "takes the folds for independent; of one fold the same over its seeds. One run: the "
    "bootstrap's interval over its clips."
)


def all_sections(
    runs: Sequence[Run], sweeps: Sequence[Sweep], *, maps: bool = True
) -> list[Section]:
    """The report on some runs and sweeps; draws its figures, `maps` of clips if asked."""
    found = []
    if runs:
        found.append(_all_runs(runs))
    found.append(_published(runs))
    if runs:
        parts = [run_section(run, maps=maps) for run in runs]
        found.append(Section("Each run", parts=parts))
    if sweeps:
        parts = [sweep_section(sweep) for sweep in sweeps]
        found.append(Section("Sweeps", parts=parts))
    return found


def _all_runs(runs: Sequence[Run]) -> Section:
    table = runs_table((run, run.metric) for run in runs)
    section = Section("All runs", lines=[EVERY_RUN], tables=[table])
    others = [run.name for run in runs if not repeats_something(run)]
    if others:
        section.lines.append(
            "Beside no published figure, being of another data set, model or division: "
            + ", ".join(others)
            + "."
        )
    return section


def _published(runs: Sequence[Run]) -> Section:
    line = (
        "Printed by Galindo-Meza (Analysis and development of an end-to-end "
        "convolutional neural network for sounds classification, ITESO, 2021). A run "
        "stands beside a figure if the whole data set, model, front end, width, division "
        "and start are those of its row; what is blank was not run. Ours are of the best "
        "epoch; as in print, it is chosen on the clips evaluated on, unless the run says "
        "otherwise."
    )
    tables = [t for p in published.TABLES for t in comparison(p, runs)]
    tables += [class_weights(weights, runs) for weights in published.CLASS_WEIGHTS]
    return Section("Beside the published figures", lines=[line], tables=tables)


def sweep_section(sweep: Sweep) -> Section:
    """The trials of a sweep, and its best."""
    best = sweep.best
    section = Section(
        sweep.name,
        about=(
            ("folder", str(sweep.path)),
            ("searched", ", ".join(sweep.parameters)),
            ("score", f"{sweep.metric} of the {sweep.select} epoch, {sweep.direction}"),
            ("trials", f"{len(sweep.trials)}, {len(sweep.complete)} of them complete"),
        ),
        warning=FLATTERING if sweep.selected_on == EVALUATED else "",
        tables=[trials_table(sweep)],
    )
    if best is None:
        section.lines.append("No trial was finished.")
        return section
    section.lines.append(f"The best is trial {best.number}.")
    drawn = sweep_figure(sweep)
    if drawn is not None:
        beside = ", beside Table 8" if published_curve(sweep) else ""
        section.figures.append((f"{sweep.metric}{beside}", drawn))
    return section
