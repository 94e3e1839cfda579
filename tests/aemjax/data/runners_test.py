"""What is said when a runner of Apache Beam fails."""

import apache_beam as beam
import pytest

from aemjax.data import runners


class DataflowError(Exception):
    """As Dataflow's own: no RuntimeError."""


def test_a_runner_with_an_error_of_its_own(monkeypatch):
    def run(self):
        raise DataflowError("the job was cancelled")

    monkeypatch.setattr(beam.Pipeline, "run", run)
    message = (
        "the Beam pipeline failed: the job was cancelled; run the same command again: "
        "finished shards are kept"
    )
    with pytest.raises(OSError, match=message):
        runners.run_beam(print, {"a": 1}, flags=["--runner=DirectRunner"])


def test_an_unknown_runner():
    with pytest.raises(ValueError, match="Unexpected pipeline runner: NoRunner"):
        runners.run_beam(print, {"a": 1}, flags=["--runner=NoRunner"])
