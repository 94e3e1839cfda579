"""A run that hangs ends itself; in a process of its own, as it takes that along.

The clock is the tests' own: a busy machine makes nothing late.
"""

import subprocess
import sys
import threading
import types

import pytest

from aemjax.train import watchdog
from aemjax.train.loop import EXIT_PREEMPTED
from aemjax.train.watchdog import EXIT_HUNG, Watchdog
from tests.jobs import ROOT

HANGS = """
import time
from types import SimpleNamespace
from aemjax.train import watchdog

clock = SimpleNamespace(now=0, monotonic=lambda: clock.now)
watchdog.time = clock

def wait_for_a_lost_disk():
    clock.now += 2
    time.sleep(120)

with watchdog.Watchdog(0.2) as dog:
    for step in range(1, 4):
        clock.now += 0.15
        time.sleep(0.3)  # so that it looks, and sees nothing amiss
        dog.beat(step)
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
    assert "step 3 was done, and nothing for 2 s" in first
    assert "the last checkpoint is intact, start the same command again" in first
    assert "in wait_for_a_lost_disk" in ended.stderr


def test_a_run_that_never_begins_hangs_too():
    ended = run(HANGS.replace("range(1, 4)", "()"))
    assert ended.returncode == EXIT_HUNG
    assert "no step was done" in ended.stderr


def test_the_code_differs_from_those_of_errors_and_preemption():
    assert EXIT_HUNG not in (0, 1, EXIT_PREEMPTED)


def begun_since(before):
    return [
        thread
        for thread in threading.enumerate()
        if thread.name == "watchdog" and thread not in before
    ]


def test_what_is_over_does_not_bite(monkeypatch):
    clock = types.SimpleNamespace(now=0, monotonic=lambda: clock.now)
    monkeypatch.setattr(watchdog, "time", clock)
    bites = []

    def bite(self, silent_s):
        bites.append(silent_s)
        sys.exit()  # the thread

    monkeypatch.setattr(Watchdog, "_end", bite)
    before = threading.enumerate()
    with Watchdog(0.1) as dog:
        dog.beat(1)
        (thread,) = begun_since(before)
    clock.now += 10
    thread.join(60)
    assert not thread.is_alive()
    assert not bites


def test_what_is_off_does_not_watch():
    before = threading.enumerate()
    with Watchdog(0) as dog:
        dog.beat(1)
        assert not begun_since(before)


def test_a_negative_time_is_refused():
    with pytest.raises(ValueError, match="timeout_s is -1, expected 0"):
        Watchdog(-1)
