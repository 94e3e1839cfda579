"""Fine-tuning runs side by side, as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from aemjax.train.workdir import read_results


def finetuning_table(folders: Sequence[str | Path]) -> str:
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
            Path(folder).name,
            results["dataset"],
            results["split"],
            len(results["runs"]),
            start,
            metric,
            *(_spread(results["summary"][w][metric]) for w in ("best", "last")),
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _spread(summary: dict[str, float | None]) -> str:
    deviation = "" if summary["std"] is None else f" +- {summary['std']:.4f}"
    return f"{summary['mean']:.4f}{deviation}"
