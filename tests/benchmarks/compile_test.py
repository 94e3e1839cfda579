import subprocess

import pytest

from benchmarks import __main__, compile, training
from tests.jobs import TINY_MODEL


@pytest.mark.slow
def test_a_smoke_run(monkeypatch, capsys):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    tiny = TINY_MODEL | {"width": 0.125}
    monkeypatch.setattr(training, "SMOKE", [(tiny, 0.2, 4, "float32", True)])
    __main__.main(["compile", "--smoke", "--repeats", "1"])
    assert "compiling, warm / cold " in capsys.readouterr().out


def test_each_pair_has_a_cache_of_its_own(monkeypatch):
    caches, printed = [], iter(["8.0", "2.0"] * 4 * 2)

    def run(command, *, env, **_):
        caches.append(env["JAX_COMPILATION_CACHE_DIR"])
        return subprocess.CompletedProcess(command, 0, stdout=next(printed))

    monkeypatch.setattr(subprocess, "run", run)
    rows = compile.run(repeats=2)
    assert len(rows) == len(training.MODELS)
    assert caches[::2] == caches[1::2] and len(set(caches)) == 8
    assert {row["compile_s, warm / cold"] for row in rows} == {0.25}


def test_ratios_by_hand():
    times = [(8.0, 2.0), (10.0, 1.0), (4.0, 2.0)]
    pairs = [
        tuple({"compile_s": x, "process_s": 10 + x} for x in pair) for pair in times
    ]
    row = compile.compare(pairs)
    assert row == {
        "compile_s": 8.0,
        "compile_s, warm / cold": 0.25,
        "compile_s, ratios": [0.25, 0.1, 0.5],
        "process_s": 18.0,
        "process_s, warm / cold": 0.667,
        "process_s, ratios": [0.667, 0.55, 0.857],
    }
    assert compile.describe({"network": "a"} | row) == (
        "a               compiling, warm / cold 0.25 (cold 8.0 s); process of a few "
        "steps, warm / cold 0.67 (cold 18.0 s)"
    )


def test_a_process_compiles_the_step_of_its_device(monkeypatch):
    class Side:
        def prepare(self, case):
            return {"compile_s": case}

    monkeypatch.setattr(training, "JaxSide", Side)
    case = compile.measure(TINY_MODEL)
    assert case == {"model": TINY_MODEL} | compile.ON_A_CPU
    assert set(case) == set(compile.ELSEWHERE) | {"model"} == set(training.KEYS)
