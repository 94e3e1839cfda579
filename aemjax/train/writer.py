"""Metrics of a run, as JSON lines and TensorBoard events."""

import contextlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import jax
import tensorboardX

from aemjax.data.folders import AnyPath, as_path, is_remote, write_text


class MetricWriter:
    """Appends to WORKDIR/metrics.jsonl and WORKDIR/events.*.

    A line is {"step": 120, "train/loss": 0.31, ...}. What lies in a bucket cannot be
    appended to: there, both are written locally and copied whole by `flush`.
    """

    FILE = "metrics.jsonl"

    def __init__(self, workdir: str | AnyPath, *, start_step: int = 0):
        """Opens the files, dropping what a killed run wrote past `start_step`."""
        self._workdir = as_path(workdir)
        kept = [line for line in read(workdir) if line["step"] <= start_step]
        self._temporary = None
        self._folder = self._workdir
        if is_remote(self._workdir):
            self._temporary = tempfile.TemporaryDirectory()
            self._folder = Path(self._temporary.name)
        path = self._folder / self.FILE
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a")
        self._events = tensorboardX.SummaryWriter(
            str(self._folder), purge_step=start_step + 1
        )

    def write(self, step: int, values: Mapping[str, int | float]) -> None:
        """Writes one line, and one event per value."""
        values = {key: float(value) for key, value in values.items()}
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(
                f"cannot write {self._folder / self.FILE}: {error}; free space, then "
                "start the same command again"
            ) from error
        for key, value in values.items():
            self._events.add_scalar(key, value, step)

    def flush(self) -> None:
        """Makes what was written outlive this machine, where WORKDIR does."""
        self._events.flush()
        if self._temporary is not None:
            for path in self._folder.iterdir():
                (self._workdir / path.name).write_bytes(path.read_bytes())

    def close(self) -> None:
        self._file.close()
        self._events.close()
        if self._temporary is not None:
            self.flush()
            self._temporary.cleanup()


class NoWriter:
    """Stands in for MetricWriter on every process but the first."""

    def write(self, step: int, values: Mapping[str, int | float]) -> None:
        pass

    def flush(self) -> None:
        pass


@contextlib.contextmanager
def open_writer(workdir: str | AnyPath, *, start_step: int = 0):
    """A MetricWriter on the first process, elsewhere one that writes nothing."""
    if jax.process_index() > 0:
        yield NoWriter()
        return
    writer = MetricWriter(workdir, start_step=start_step)
    try:
        yield writer
    finally:
        writer.close()


def read(workdir: str | AnyPath) -> list[dict[str, int | float]]:
    """The lines of a run; one cut short by a kill is left out."""
    path = as_path(workdir) / MetricWriter.FILE
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
