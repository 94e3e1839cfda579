"""The published tables with our runs beside them."""

import math
from collections.abc import Sequence

import numpy as np

from aemjax.report import published
from aemjax.report.published_table import ClassWeights, Column, PublishedTable
from aemjax.report.runs import Run
from aemjax.report.tables import Table, measured, number, runs_table

# Of figures that are no metric of results.
COUNTED = ("parameters", "nonzero", "float32_kb")


def comparison(table: PublishedTable, runs: Sequence[Run]) -> list[Table]:
    """A published table with ours beside; then, where there are any, ours in full.

    A row that several runs repeat comes once for each.
    """
    matched = [
        (row, [run for run in runs if run.repeats(row.wants)]) for row in table.rows
    ]
    ours = list(dict.fromkeys(run.name for _, found in matched for run in found))
    ours_of = [column for column in table.columns if column.metric]
    forms = [_form(table, place) for place in range(len(table.columns))]
    rows = []
    for row, found in matched:
        values = [
            "" if value is None else form.format(value)
            for value, form in zip(row.values, forms, strict=True)
        ]
        for run in found or [None]:
            own = [_ours(run, column) for column in ours_of] if run else []
            blank = [""] * (1 + len(ours_of))
            rows.append((*row.labels, *values, *([run.name, *own] if run else blank)))
    columns = (
        *table.labels,
        *(f"{column.title}, published" for column in table.columns),
        "run",
        *(f"{column.title}, ours" for column in ours_of),
    )
    place = len(table.labels) + len(table.columns)
    beside = Table(columns, tuple(rows), table.title, table.note, run_column=place)
    metrics = [c.metric for c in ours_of if c.metric not in COUNTED]
    if not ours or not metrics:
        return [beside]
    chosen = [run for run in runs if run.name in ours]
    return [beside, runs_table((run, metric) for run in chosen for metric in metrics)]


def repeats_something(run: Run) -> bool:
    """Whether a run belongs beside a published figure."""
    return any(run.repeats(row.wants) for t in published.TABLES for row in t.rows)


def _form(table: PublishedTable, place: int) -> str:
    """How the figures of a column are printed, with as many digits as in the thesis."""
    unit = table.columns[place].unit
    if unit == "share":
        values = [row.values[place] for row in table.rows]
        digits = 3 if all(v is None or v == round(v, 3) for v in values) else 4
        return f"{{:.{digits}f}}"
    return "{:.2f}" if unit in ("percent", "KB") else "{:,}"


def _ours(run: Run, column: Column) -> str:
    if column.metric not in COUNTED:
        return measured(run.selected("best", column.metric), column.unit)
    counts = parameter_counts(run)
    if counts is None:
        return ""
    if column.unit == "KB":  # digits are cut off, as they are in print
        kilobytes = counts["nonzero"] * 4 / 1024
        return f"{math.floor(kilobytes * 100) / 100:.2f}"
    return number(counts[column.metric], "count")


def parameter_counts(run: Run) -> dict[str, int] | None:
    """Trainable "parameters" of a run's checkpoint, and those not 0: "nonzero".

    None where the checkpoint is not at hand.
    """
    if isinstance(run.checkpoint, str):
        return None
    leaves = _leaves(run.checkpoint[0]["params"])
    return {
        "parameters": int(sum(leaf.size for leaf in leaves)),
        "nonzero": int(sum(np.count_nonzero(leaf) for leaf in leaves)),
    }


def _leaves(tree) -> list[np.ndarray]:
    if isinstance(tree, dict):
        return [leaf for child in tree.values() for leaf in _leaves(child)]
    return [np.asarray(tree)]


def class_weights(weights: ClassWeights, runs: Sequence[Run]) -> Table:
    """Printed alpha, and one minus each class' share of the clips that runs evaluate."""
    own = []
    for run in runs:
        confusion = run.confusion("last")
        if run.dataset != weights.dataset or confusion is None or run.card is None:
            continue
        if set(run.card.labels) == set(weights.alpha):
            shares = confusion.sum(axis=1) / confusion.sum()
            own.append((run.name, dict(zip(run.card.labels, shares, strict=True))))
    rows = tuple(
        (name, f"{alpha:.4g}", *(f"{1 - shares[name]:.4f}" for _, shares in own))
        for name, alpha in weights.alpha.items()
    )
    columns = ("class", "alpha, published", *(f"1 - share, {name}" for name, _ in own))
    title = f"Table {weights.table}: class weights, {weights.dataset}"
    return Table(columns, rows, title=title)
