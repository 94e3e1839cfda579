"""A run that hangs ends itself; in a process of its own, as it takes that along."""

import subprocess
import sys
import time

import pytest

from aemjax.train.loop import EXIT_PREEMPTED
from aemjax.train.watchdog import EXIT_HUNG, Watchdog
from tests.jobs import ROOT

HANGS = """
import time
from aemjax.train.watchdog import Watchdog

def wait_for_a_lost_disk():
    time.sleep(120)

with Watchdog(1.5) as watchdog:
    for step in range(1, 4):
        time.sleep(0.8)
        watchdog.beat(step)
    wait_for_a_lost_disk()
"""


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_run_that_hangs_ends_with_a_code_of_its_own_and_says_where():
    ended = run(HANGS)
    assert ended.returncode == EXIT_HUNG
    first = ended.stderr.splitlines()[0]
    assert first.startswith("error: process 0 of 1 on ")
    assert "step 3 was done, and nothing for " in first
    assert "the last checkpoint is intact, start the same command again" in first
    assert "in wait_for_a_lost_disk" in ended.stderr


def test_a_run_that_never_begins_hangs_too():
    ended = run(HANGS.replace("range(1, 4)", "()"))
    assert ended.returncode == EXIT_HUNG
    assert "no step was done" in ended.stderr


def test_the_code_differs_from_those_of_errors_and_preemption():
    assert EXIT_HUNG not in (0, 1, EXIT_PREEMPTED)


@pytest.mark.parametrize("timeout_s", [0, 0.4])
def test_what_is_over_or_off_does_not_bite(timeout_s):
    with Watchdog(timeout_s) as watchdog:
        watchdog.beat(1)
        if timeout_s == 0:
            time.sleep(0.2)
    time.sleep(2 * timeout_s)  # this process goes on


def test_a_negative_time_is_refused():
    with pytest.raises(ValueError, match="timeout_s is -1, expected 0"):
        Watchdog(-1)
