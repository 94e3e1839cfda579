"""How the processes of a run find each other; that they work together: multihost."""

import subprocess
import sys

import jax
import pytest

from aemjax.train import distributed
from tests.jobs import ROOT, free_port

STEP = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}


@pytest.fixture
def started(monkeypatch):
    """The arguments of every call of `jax.distributed.initialize`."""
    calls = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *args, **kw: calls.append((args, kw))
    )
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_one_process_starts_nothing(started):
    distributed.initialize()
    assert not started


def test_flags_name_the_processes_and_nothing_else_is_looked_at(started, monkeypatch):
    for key, value in (STEP | {"SLURM_STEP_NUM_TASKS": "4"}).items():
        monkeypatch.setenv(key, value)
    distributed.initialize(
        coordinator_address="host:1234", process_count=2, process_index=1
    )
    ((args, kw),) = started
    assert args == ("host:1234", 2, 1)
    assert kw["cluster_detection_method"] == "deactivate"
    assert kw["heartbeat_timeout_seconds"] == distributed.SILENCE_TIMEOUT_S


@pytest.mark.parametrize(
    ("extra", "several"),
    [
        ({"SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({}, False),  # a batch script that has asked for four tasks, but not srun
    ],
)
def test_slurm_says_which_processes_srun_started(started, monkeypatch, extra, several):
    for key, value in (STEP | extra).items():
        monkeypatch.setenv(key, value)
    distributed.initialize()
    assert len(started) == several
    for args, kw in started:
        assert args == (None, None, None)
        assert kw["cluster_detection_method"] == "slurm"


@pytest.mark.parametrize(
    ("platforms", "library", "chips", "several"),
    [
        (None, True, ["/dev/accel0"], True),
        ("tpu,cpu", True, ["/dev/vfio/0"], True),
        ("cpu", True, ["/dev/accel0"], False),
        (None, False, ["/dev/accel0"], False),
        (None, True, [], False),
    ],
)
def test_a_tpu_says_which_hosts_there_are(
    started, monkeypatch, platforms, library, chips, several
):
    before = jax.config.jax_platforms
    monkeypatch.setattr(distributed, "_chips", lambda: chips)
    monkeypatch.setattr(
        distributed.importlib.util, "find_spec", lambda name: library or None
    )
    jax.config.update("jax_platforms", platforms)
    try:
        distributed.initialize()
    finally:
        jax.config.update("jax_platforms", before)
    assert len(started) == several


@pytest.mark.parametrize(
    ("address", "count", "index", "message"),
    [
        ("host:1", 2, None, "process_index None; give all three or none"),
        (None, 2, 0, "coordinator_address is None"),
        (None, None, 1, "process_count None"),
        ("host", 2, 0, "coordinator_address is 'host', expected HOST:PORT"),
        ("host:http", 2, 0, "'host:http', expected HOST:PORT"),
        ("host:1", 2, 2, "process_index is 2 of process_count 2, expected 0 to 1"),
        ("host:1", 2, -1, "process_index is -1"),
        ("host:1", 0, 0, "process_count is 0, expected 1 or more"),
    ],
)
def test_flags_that_do_not_fit_are_refused(started, address, count, index, message):
    with pytest.raises(ValueError, match=message):
        distributed.initialize(
            coordinator_address=address, process_count=count, process_index=index
        )
    assert not started


def test_a_time_of_silence_below_a_second_is_refused(started):
    with pytest.raises(ValueError, match="process_timeout_s is 0, expected 1"):
        distributed.initialize(silence_timeout_s=0)


ALONE = """
from aemjax.train import distributed
distributed.initialize(
    coordinator_address="localhost:{port}",
    process_count=2,
    process_index={index},
    start_timeout_s=2,
)
"""


@pytest.mark.parametrize("index", [0, 1])
def test_one_that_waits_in_vain_says_where_and_how_long(index):
    port = free_port()
    ended = subprocess.run(
        [sys.executable, "-c", ALONE.format(port=port, index=index)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 1, ended.stderr
    assert f"not all processes came to localhost:{port} within 2 s" in ended.stderr
    assert "Check failure" not in ended.stderr


def test_agreeing_alone_is_calling():
    assert distributed.agree(lambda: {"a": 1}) == {"a": 1}
    with pytest.raises(OSError, match="disk"):
        distributed.agree(lambda: (_ for _ in ()).throw(OSError("disk")))
