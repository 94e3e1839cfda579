"""Which of the folders that a report is given are runs, and which are sweeps."""

from collections.abc import Sequence
from pathlib import Path

from aemjax.data.folders import AnyPath, as_path
from aemjax.report.runs import Run, read_run
from aemjax.report.sweeps import SWEEP, Sweep, read_sweep


def read_folders(folders: Sequence[str | Path]) -> tuple[list[Run], list[Sweep]]:
    """The runs and the sweeps among some folders.

    Raises:
      ValueError: if a folder is neither, is not finished, or is named twice.
    """
    paths = [as_path(folder) for folder in folders]
    runs, sweeps = [], []
    for given, path, name in zip(folders, paths, _names(paths), strict=True):
        if (path / SWEEP).is_file():
            sweeps.append(read_sweep(given, name=name))
        else:
            runs.append(read_run(given, name=name))
    return runs, sweeps


def _names(paths: Sequence[AnyPath]) -> list[str]:
    """The last part of each path; of equal ones as many as tell them apart."""
    texts = [str(path).rstrip("/") for path in paths]
    if twice := {text for text in texts if texts.count(text) > 1}:
        raise ValueError(f"{sorted(twice)[0]} is named twice; name each folder once")
    names = []
    for text in texts:
        parts = text.split("/")
        others = [other.split("/") for other in texts if other != text]
        count = 1
        while any(other[-count:] == parts[-count:] for other in others):
            count += 1
        names.append("/".join(parts[-count:]))
    return names
