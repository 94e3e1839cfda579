import json
import os
import subprocess

import pytest

from benchmarks import latency, streaming
from tests.aemjax.serve.streams import quick_streams

TINY = {"name": "tests.tiny:Backbone", "frontend": "llf2", "num_classes": 3}


def test_a_tiny_network_is_measured(monkeypatch):
    monkeypatch.setattr(streaming, "BLOCKS_S", (0, 1))
    with quick_streams():
        rows = streaming.measure(TINY, 2, seconds=2)
    assert [row["block_s"] for row in rows] == [0, 1]
    for row in rows:
        assert row["load"] > 0 and len(row["ratios"]) == 2
        assert row["look_ahead_s"] == 0  # frames of 0.04 s that see 0.03 s
        parts = row["look_ahead_s"], row["waiting_s"], row["block_ms"] / 1000
        assert row["latency_s"] == pytest.approx(sum(parts), abs=1e-3)
    # With blocks of one frame it waits for the end of a chunk alone.
    assert 0 <= rows[0]["waiting_s"] < streaming.CHUNK_S
    assert rows[0]["waiting_s"] < rows[-1]["waiting_s"] < 1.2


def test_a_row_by_hand():
    about = {"look_ahead_s": 0.5, "waiting_s": 0.125}
    streamed = [
        {"seconds": 2.0, "block_s": 0.01} | about,
        {"seconds": 8.0, "block_s": 0.03} | about,
        {"seconds": 3.0, "block_s": 0.02} | about,
    ]
    row = streaming.summarize(1, streamed, [1.0, 2.0, 2.0], seconds=10)
    assert row == {
        "block_s": 1,
        "load": 0.3,
        "load of the whole clip": 0.2,
        "streaming / whole": 2.0,
        "ratios": [2.0, 4.0, 1.5],
        "look_ahead_s": 0.5,
        "waiting_s": 0.125,
        "block_ms": 20.0,
        "latency_s": 0.645,
    }
    assert streaming.describe({"network": "a"} | row).startswith(
        "a                  blocks of   1 s: 0.300 s of computing per second, streaming "
        "/ whole clip = 2.00; from sample to score 0.65 s = 0.50 look-ahead"
    )


def test_each_network_has_a_process_of_one_core(monkeypatch):
    started = []
    row = streaming.summarize(
        1,
        [{"seconds": 1.0, "block_s": 1, "look_ahead_s": 1, "waiting_s": 1}],
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
