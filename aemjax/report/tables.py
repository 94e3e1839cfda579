"""Tables of a report, the same in Markdown and HTML."""

import dataclasses
import re
from collections.abc import Iterable, Sequence

from aemjax.report.runs import Run, Spread
from aemjax.report.sweeps import Sweep

ENTRIES = {
    "best": "best epoch",
    "last": "last epoch",
    "ema": "averaged weights, last epoch",
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Texts in rows and columns; every row has a cell per column.

    Attributes:
      columns: titles.
      rows: cells.
      title, note: above and below it; "": none.
      run_column: number of the column that names runs; None: none does.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""
    run_column: int | None = None

    def markdown(self) -> str:
        lines = [
            _line(self.columns),
            "|" + "---|" * len(self.columns),
            *map(_line, self.rows),
        ]
        return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = " ".join(text.split())
    # Within a word an underscore is one, and looks better without a backslash.
    return re.sub(r"[\\|<>*`\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def measured(spread: Spread | None, unit: str = "share") -> str:
    """A metric as "mean ± deviation (low to high)", what there is of it; "" of None."""
    if spread is None:
        return ""
    text = number(spread.mean, unit)
    if spread.std is not None:
        text += f"{FIXED}±{FIXED}{number(spread.std, unit)}"
    if spread.interval is not None:
        low, high = (number(bound, unit) for bound in spread.interval)
        text += f" ({low}{FIXED}to{FIXED}{high})"
    return text


def number(value: int | float, unit: str = "share") -> str:
    """A figure of `published.Column.unit`; shares of results have four digits."""
    if unit == "percent":
        return f"{100 * value:.2f}"
    return f"{value:,}" if unit == "count" else f"{value:.4f}"


FIXED = "\u00a0"  # a space at which no line ends
COMMON = ("run", "data", "split", "seeds", "start", "LR share", "metric")


def runs_table(pairs: Iterable[tuple[Run, str]], *, title: str = "") -> Table:
    """A row per run and metric: everything needed to tell what was measured."""
    columns = (
        *COMMON,
        *("best epoch (95 %)", "last epoch (95 %)"),
        *("clips trained on", "evaluated", "commit"),
    )
    rows = tuple(_run_row(run, metric) for run, metric in pairs)
    return Table(columns, rows, title=title, run_column=0)


def _run_row(run: Run, metric: str) -> tuple[str, ...]:
    best, last = (run.selected(entry, metric) for entry in ("best", "last"))
    return (
        run.name,
        run.dataset,
        run.split,
        ", ".join(map(str, run.seeds)),
        start(run),
        lr_share(run),
        metric + " of averaged weights" * run.of_averaged,
        measured(best),
        measured(last),
        span(run, "train_clips"),
        span(run, "eval_clips"),
        ", then ".join(map(short_commit, run.commits)),
    )


def start(run: Run) -> str:
    """What the weights were at step 0, how many were pruned, whether they are integers."""
    pruned = f", {run.pruned:.2%} pruned" if run.pruned else ""
    integers = ", int8" if run.quantized else ""
    return _start_of_all(run) + pruned + integers


def _start_of_all(run: Run) -> str:
    if not run.results.get("init_from"):
        gone_on = run.pruned and run.config["prune"]["start"] != "init_from"
        before = run.config["prune"]["run"] if gone_on else run.quantized
        return before or "from scratch"
    name = run.results["init_from"].rstrip("/").rpartition("/")[2]
    step = run.results.get("init_step")
    return name if step is None else f"{name}, step {step:,}"


def lr_share(run: Run) -> str:
    """The embedder's share of the learning rate; "" where nothing was transferred."""
    if not run.results.get("init_from"):
        return ""
    share = run.results["lr_fraction"]
    shown = "frozen" if share == 0 else f"{share:.4g}"
    return f"{shown}, {run.by_stage}" if run.by_stage else shown


def span(run: Run, key: str) -> str:
    """Clips of every fold: one number, or the least and the most."""
    if run.finetuning:
        counts = [fold.get(key) for fold in run.results["runs"]]
    elif key == "eval_clips":
        counts = [(run.results["last"] or {}).get("clips")]
    else:
        counts = [run.results.get(key)]
    if None in counts:
        return ""
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def short_commit(commit: str) -> str:
    """Ten digits; a "+" behind them says that files differed from it."""
    return commit[:10] + "+" * (commit.endswith("+") and len(commit) > 10)


def metrics_table(run: Run) -> Table:
    """Every metric of a run: of the best epoch, of the last one, of averaged weights."""
    entries = run.entries
    names = run.metric_names("last")
    columns = ("metric", *(f"{ENTRIES[entry]} (95 %)" for entry in entries))
    rows = [
        (name, *(measured(run.spread(entry, name)) for entry in entries))
        for name in names
    ]
    if run.finetuning:
        rows += _of_means(run, entries)
    return Table(columns, tuple(rows), note=_steps(run))


def _of_means(run: Run, entries: Sequence[str]) -> list[tuple[str, ...]]:
    """F1 of the mean precision and recall, which is not the mean F1."""
    rows = []
    for name in ("F1", "positive_F1"):
        cells = [f"{name} of mean precision and recall"]
        for entry in entries:
            about = run.results["summary"].get(entry, {}).get(name, {})
            value = about.get("of_means")
            cells.append("" if value is None else number(value))
        if any(cells[1:]) and len(run.results["runs"]) > 1:
            rows.append(tuple(cells))
    return rows


def _steps(run: Run) -> str:
    if not run.finetuning:
        best, last = run.results["best_step"], run.results["steps"]
        return f"Best step {best:,} of {last:,}." if best is not None else ""
    best = ", ".join(f"{fold['best']['step']:,}" for fold in run.results["runs"])
    last = ", ".join(
        f"{step:,}" for step in sorted({f["last"]["step"] for f in run.results["runs"]})
    )
    folds = len({fold["fold"] for fold in run.results["runs"]})
    over = "folds" if folds > 1 else "seeds"
    means = f"Means over {over} ± the sample deviation; intervals by Student's t."
    one = "One fold; intervals by the bootstrap over its clips."
    which = means if len(run.results["runs"]) > 1 else one
    return f"{which} Best steps, run by run: {best}; last step: {last}."


def trials_table(sweep: Sweep) -> Table:
    """A row per trial, the best first; then those without a score."""
    sign = -1 if sweep.direction == "maximize" else 1
    complete = sorted(sweep.complete, key=lambda t: sign * t.value)
    others = [trial for trial in sweep.trials if trial not in complete]
    rows = []
    for trial in (*complete, *others):
        found = trial.value is not None
        spread = Spread(trial.value, trial.std, trial.interval) if found else None
        values = (trial.parameters.get(name, "") for name in sweep.parameters)
        rows.append(
            (
                str(trial.number),
                *(f"{v:.6g}" if isinstance(v, float) else str(v) for v in values),
                trial.state,
                measured(spread),
            )
        )
    return Table(
        ("trial", *sweep.parameters, "state", f"{sweep.metric} (95 %)"), tuple(rows)
    )
