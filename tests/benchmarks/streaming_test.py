import json
import os
import subprocess

import pytest

from benchmarks import latency, streaming
from tests.aemjax.serve.streams import quick_streams

TINY = {"name": "tests.tiny:Backbone", "frontend": "llf2", "num_classes": 3}


def test_a_tiny_network_is_measured(monkeypatch):
    monkeypatch.setattr(streaming, "BLOCKS_S", (0, 0.6))
    with quick_streams():
        rows = streaming.measure(TINY, 2, seconds=2)
    assert [row["block_s"] for row in rows] == [0, 0.6]
    for row in rows:
        assert row["load"] > 0 and len(row["ratios"]) == 2
        assert row["look_ahead_s"] == 0  # frames of 0.04 s that see 0.03 s
    # A window ends with the stream's first second; the second block of 0.6 s, at 1.2.
    for key, wait_s in (("median_latency_s", 0.5), ("worst_latency_s", 1)):
        soon, late = (row[key] - row["computing_ms"] / 1000 for row in rows)
        assert (soon, late) == pytest.approx((wait_s, wait_s + 0.2), abs=0.03)


def test_waits_by_hand():
    second = streaming.SAMPLE_RATE
    # Those of the first window wait 1.5 s to 0.51, the 2 s after them 2 to 0.01.
    found = streaming.waits([second, 3 * second], [3 * second // 2, 3 * second])
    assert found == pytest.approx((1.005, 2))


def test_a_row_by_hand():
    about = {"look_ahead_s": 0.5, "waits_s": (1.5, 2.25)}
    streamed = [
        {"seconds": 2.0, "computing_s": 0.01} | about,
        {"seconds": 8.0, "computing_s": 0.03} | about,
        {"seconds": 3.0, "computing_s": 0.02} | about,
    ]
    row = streaming.summarize(1, streamed, [1.0, 2.0, 2.0], seconds=10)
    assert row == {
        "block_s": 1,
        "load": 0.3,
        "load of the whole clip": 0.2,
        "streaming / whole": 2.0,
        "ratios": [2.0, 4.0, 1.5],
        "look_ahead_s": 0.5,
        "computing_ms": 20.0,
        "median_latency_s": 1.52,
        "worst_latency_s": 2.27,
    }
    assert streaming.describe({"network": "a"} | row) == (
        "a                  blocks of   1 s: 0.300 s of computing per second, streaming "
        "/ whole clip = 2.00; from a sample to its first score 1.52 s, 2.27 at worst, "
        "of which 0.50 look-ahead and 0.020 computing"
    )


def test_each_network_has_a_process_of_one_core(monkeypatch):
    started = []
    row = streaming.summarize(
        1,
        [{"seconds": 1.0, "computing_s": 1, "look_ahead_s": 1, "waits_s": (1, 2)}],
        [1.0],
        seconds=1,
    )

    def run(command, *, env, **_):
        started.append((command[-2:], len(os.sched_getaffinity(0))))
        assert latency.ONE_THREAD.items() <= env.items()
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps([row]))

    monkeypatch.setattr(subprocess, "run", run)
    rows = streaming.run(repeats=3)
    assert started == [([name, "3"], 1) for name in streaming.NETWORKS]
    assert [row["network"] for row in rows] == list(streaming.NETWORKS)
