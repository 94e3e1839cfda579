"""Runs side by side, as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from aemjax.report.inputs import read_folders
from aemjax.report.tables import runs_table, trials_table


def side_by_side(folders: Sequence[str | Path]) -> str:
    """A table of the fine-tuning runs, one of the pretraining runs, one per sweep.

    The best epoch may have been chosen on the clips that it is scored on, as in the
    published work; the last epoch's figure beside it is free of that choice.

    Raises:
      ValueError: if a folder is none of them, or is not finished.
    """
    runs, sweeps = read_folders(folders)
    tables = []
    for finetuning in (True, False):
        if pairs := [(run, run.metric) for run in runs if run.finetuning == finetuning]:
            tables.append(runs_table(pairs).markdown())
    tables += [f"{sweep.name}\n\n{trials_table(sweep).markdown()}" for sweep in sweeps]
    return "\n\n".join(tables)
