"""Metrics of a run, as JSON lines and TensorBoard events."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import jax
import tensorboardX


class MetricWriter:
    """Appends to WORKDIR/metrics.jsonl and WORKDIR/events.*.

    A line is {"step": 120, "train/loss": 0.31, ...}.
    """

    FILE = "metrics.jsonl"

    def __init__(self, workdir: str | Path, *, start_step: int = 0):
        """Opens the files, dropping what a killed run wrote past `start_step`."""
        self._path = Path(workdir) / self.FILE
        kept = [line for line in read(workdir) if line["step"] <= start_step]
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(temporary, self._path)
        self._file = self._path.open("a")
        self._events = tensorboardX.SummaryWriter(
            str(workdir), purge_step=start_step + 1
        )

    def write(self, step: int, values: Mapping[str, int | float]) -> None:
        """Writes one line, and one event per value."""
        values = {key: float(value) for key, value in values.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for key, value in values.items():
            self._events.add_scalar(key, value, step)

    def close(self) -> None:
        self._file.close()
        self._events.close()


class NoWriter:
    """Stands in for MetricWriter on every process but the first."""

    def write(self, step: int, values: Mapping[str, int | float]) -> None:
        pass


@contextlib.contextmanager
def open_writer(workdir: str | Path, *, start_step: int = 0):
    """A MetricWriter on the first process, elsewhere one that writes nothing."""
    if jax.process_index() > 0:
        yield NoWriter()
        return
    writer = MetricWriter(workdir, start_step=start_step)
    try:
        yield writer
    finally:
        writer.close()


def read(workdir: str | Path) -> list[dict[str, int | float]]:
    """The lines of a run; one cut short by a kill is left out."""
    path = Path(workdir) / MetricWriter.FILE
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
