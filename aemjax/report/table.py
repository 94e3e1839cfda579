"""Runs side by side, as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from aemjax.data.folders import AnyPath, as_path
from aemjax.report.inputs import read_folders
from aemjax.report.tables import runs_table, trials_table
from aemjax.train.workdir import read_results


def side_by_side(folders: Sequence[str | Path]) -> str:
    """A table of the fine-tuning runs, one of the pretraining runs, one per sweep.

    Raises:
      ValueError: if a folder is none of them, or is not finished.
    """
    runs, sweeps = read_folders(folders)
    tables = []
    if tuned := [run.path for run in runs if run.finetuning]:
        tables.append(finetuning_table(tuned))
    if pretrained := [(run, run.metric) for run in runs if not run.finetuning]:
        tables.append(runs_table(pretrained).markdown())
    tables += [f"{sweep.name}\n\n{trials_table(sweep).markdown()}" for sweep in sweeps]
    return "\n\n".join(tables)


def finetuning_table(folders: Sequence[str | AnyPath]) -> str:
    """A row per run: what it started from, its best and last metric over folds.

    The best epoch is chosen on the test fold, as in the published work; the last
    epoch's figure beside it is free of that choice.

    Raises:
      ValueError: if a folder has no results.
    """
    lines = [
        "| run | data | split | folds | LR fraction | metric | best epoch | last epoch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for folder in folders:
        results = read_results(folder)
        metric = results["metric"]
        start = results["lr_fraction"] if results["init_from"] else "from scratch"
        cells = [
            as_path(folder).name,
            results["dataset"],
            results["split"],
            len({run["fold"] for run in results["runs"]}),
            start,
            metric,
            *(_spread(results["summary"][w][metric]) for w in ("best", "last")),
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _spread(summary: dict[str, float | None]) -> str:
    deviation = "" if summary["std"] is None else f" +- {summary['std']:.4f}"
    return f"{summary['mean']:.4f}{deviation}"
