import json
import os
import subprocess
import sys

import pytest

from aemjax.export.graph import read_network
from benchmarks import latency, parity
from tests.jobs import ROOT

TINY = {"name": "aemnet_dw", "width": 1 / 16, "num_classes": 10}


def row(engine, ratio, **about):
    about = {"network": "a", "seconds": 1, "engine": engine} | about
    return about | {latency.RATIO: ratio}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(latency, "SECONDS", 0)
    monkeypatch.setattr(latency, "CALIBRATION_CLIPS", 2)


@pytest.fixture
def stand_in(monkeypatch):
    """For PyTorch's network: Flax's, off by what a test says; and its calls."""
    about = {"off by": 0.0, "calls": []}

    def engine(network):
        def call(audio):
            about["calls"].append(audio.shape)
            logits, embedding = network(audio)
            return [logits + about["off by"], embedding]

        return call

    def networks(spec, audio):
        return {"eager": read_network(spec)}

    monkeypatch.setattr(latency, "pytorch_networks", networks)
    monkeypatch.setattr(latency, "pytorch_engine", engine)
    return about


def test_every_engine_is_compared_and_timed(quick, stand_in):
    rows = latency.measure(TINY, 0.1, 2)
    engines = ["Flax", "ONNX Runtime float32", "ONNX Runtime int8"]
    engines += ["LiteRT float32", "LiteRT int8", "PyTorch eager"]
    assert [row["engine"] for row in rows] == engines
    # To compare, and in each repeat to warm up and to time.
    assert stand_in["calls"] == [(1, 1600)] * (1 + 2 * 2)
    for row in rows:
        assert row["seconds"] == 0.1 and row["peer"] == "PyTorch eager"
        assert len(row["ratios"]) == 2 and row["ms"] > 0
        assert ("same top-1" in row) == row["engine"].endswith("int8")
    assert rows[-1]["ratios"] == [1, 1]


def test_other_work_is_not_timed(quick, stand_in):
    stand_in["off by"] = 2e-4
    with pytest.raises(ValueError, match="logits of PyTorch eager differ from Flax's"):
        latency.measure(TINY, 0.1, 1)


def test_ratios_by_hand():
    times = {
        "Flax": [0.001, 0.004, 0.002],
        "PyTorch eager": [0.004, 0.005, 0.009],
        "PyTorch traced": [0.002, 0.006, 0.008],
        "PyTorch compiled": [0.001, 0.004, 0.006],
    }
    found = latency.ratios(times)
    assert {about["peer"] for about in found.values()} == {"PyTorch compiled"}
    assert found["Flax"] == {
        "peer": "PyTorch compiled",
        latency.RATIO: 1,
        "ratios": [1, 1, 3],
        "ms": 2,
    }
    assert found["PyTorch traced"]["ratios"] == [0.5, 0.667, 0.75]


def test_the_best_engines_are_named():
    rows = [
        row("Flax", 0.5),
        row("LiteRT float32", 1.25),
        row("LiteRT int8", 3.0, **{"same top-1": True}),
        row("PyTorch eager", 9.0),
        row("Flax", 0.75, seconds=10),
    ]
    assert latency.summarize(rows) == [
        "best of a, 1 s: LiteRT int8, 3.00; in float32: LiteRT float32, 1.25",
        "best of a, 10 s: Flax, 0.75; in float32: Flax, 0.75",
    ]


def test_each_network_has_a_process_of_one_core(monkeypatch, capsys):
    started = []

    def run(command, *, env, **_):
        started.append((command[-2:], len(os.sched_getaffinity(0))))
        assert latency.ONE_THREAD.items() <= env.items()
        row = {"seconds": 1, "engine": "Flax", latency.RATIO: 2.0}
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps([row]))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(parity, "has_pytorch", lambda: True)
    cores = os.sched_getaffinity(0)
    rows = latency.run(repeats=3)
    assert started == [([name, "3"], 1) for name in latency.NETWORKS]
    assert os.sched_getaffinity(0) == cores
    assert [row["network"] for row in rows] == list(latency.NETWORKS)
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "best of aemresnet 1.0, 1 s: Flax, 2.00; in float32: Flax, 2.00"


@pytest.mark.torch
@pytest.mark.skipif(not parity.has_pytorch(), reason="no PyTorch")
def test_pytorch_in_every_form(tmp_path):
    # In a process of its own: it sets threads, and warns.
    code = f"""
import json
from benchmarks import latency
latency.SECONDS = 0
print(json.dumps(latency.measure({TINY}, 0.1, 1)))
"""
    rows = json.loads(
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ
            | latency.ONE_THREAD
            | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    )
    kinds = {row["engine"]: row["difference from Flax"] for row in rows[-3:]}
    assert list(kinds) == ["PyTorch eager", "PyTorch traced", "PyTorch compiled"]
    assert all(0 < difference < 1e-4 for difference in kinds.values())


def test_without_pytorch(monkeypatch):
    monkeypatch.setattr(parity, "has_pytorch", lambda: False)
    with pytest.raises(ImportError, match="^PyTorch, .* not installed; `pip install t"):
        latency.run(repeats=1)
