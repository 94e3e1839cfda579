import functools
import itertools
import json
import math
import re

import jax
import pytest

from aemjax.train import chips, sharding
from benchmarks import __main__, accelerator

TINY = {"name": "tests.tiny:Backbone"}
CASE = {
    "model": TINY,
    "changes": accelerator.PLAIN,
    "sizes": accelerator.SMOKE | {"repeats": 1},
}


def row(batch, *, rate=100.0, planned=2.0):
    return {
        "batch": batch,
        "clips_per_s": rate,
        "mfu": 0.5,
        "memory_gib": 3.0,
        "planned_gib": planned,
    }


@pytest.fixture
def ways(monkeypatch):
    """One model and two ways, small enough for a test."""
    monkeypatch.setattr(accelerator, "MODELS", {"tiny": TINY})
    taught = accelerator.WAYS["taught by AemResNet"]
    monkeypatch.setattr(accelerator, "WAYS", {"plain": {}, "taught": taught})
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.mark.slow
def test_a_smoke_run(ways, capsys):
    __main__.main(["accelerator", "--smoke", "--repeats", "1"])
    plain, taught = capsys.readouterr().out.splitlines()
    assert plain.startswith("tiny           plain                batch     4,")
    assert plain.endswith("GiB; / plain at 4: 1.00, memory 1.00")
    assert taught.startswith("tiny           taught")


@pytest.fixture
def full_at(monkeypatch):
    """Says at which batch the memory is full, and with which message."""

    def set_limit(limit, message="RESOURCE_EXHAUSTED: Out of memory"):
        def measure_batch(case, mesh, batch):
            if batch >= limit:
                raise jax.errors.JaxRuntimeError(message)
            return {"batch": batch}

        monkeypatch.setattr(accelerator, "measure_batch", measure_batch)

    return set_limit


SEARCH = CASE | {"sizes": accelerator.SIZES | {"repeats": 1}}


def test_batches_double_until_memory_is_full(full_at):
    full_at(600)
    sizes = [row["batch"] for row in accelerator.measure(SEARCH)]
    assert sizes == [128, 256, 512]  # on eight devices
    full_at(100)
    assert list(accelerator.measure(SEARCH)) == []
    full_at(math.inf)
    *_, last = accelerator.measure(SEARCH)
    assert last["batch"] == 8 * 4096


def test_another_error_is_not_taken_for_full_memory(full_at):
    full_at(200, "INTERNAL: the compiler failed")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        list(accelerator.measure(SEARCH))


def test_ways_are_compared_where_both_fit():
    plain = [row(64, rate=80), row(128, rate=100)]
    frugal = [row(64, rate=60), row(128, rate=90, planned=0.5), row(256, rate=95)]
    greedy = [row(64, rate=20, planned=6.0)]
    found = {"plain": plain, "frugal": frugal, "greedy": greedy, "none": []}
    best = accelerator.summarize(found, "frugal")
    assert (best["batch"], best["compared_at"], best["clips_per_s"]) == (256, 128, 95)
    assert best["clips_per_s / plain"] == 0.9
    assert best["planned_gib / plain"] == 0.25
    worse = accelerator.summarize(found, "greedy")
    assert (worse["compared_at"], worse["clips_per_s / plain"]) == (64, 0.25)
    nothing = accelerator.summarize(found, "none")
    assert nothing == {"batch": None}
    line = accelerator.describe({"model": "m", "way": "none"} | nothing)
    assert line.endswith("does not fit")
    alone = accelerator.summarize({"plain": [], "frugal": frugal}, "frugal")
    assert "compared_at" not in alone
    line = accelerator.describe({"model": "m", "way": "frugal"} | alone)
    assert line.endswith("batch   256,      95.0 clips/s,  50.0% of peak,   3.00 GiB")


@pytest.mark.slow
def test_the_share_of_peak(monkeypatch):
    """By hand: clips/s times the operations of a clip, over the peak of eight."""
    ticks = itertools.count(step=0.5)
    monkeypatch.setattr(accelerator.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(chips, "peak_flops", lambda device: 1e9)
    monkeypatch.setattr(chips, "peak_memory_bytes", lambda device: 2**29)
    mesh, flops = sharding.data_mesh(), []
    step_recipe = accelerator.step_recipe

    def note(*args):
        plan = step_recipe(*args)
        flops.append(plan.flops_per_clip)
        return plan

    monkeypatch.setattr(accelerator, "step_recipe", note)
    found = accelerator.measure_batch(CASE, mesh, 32)
    assert found["clips_per_s"] == 32 / 0.5
    assert found["mfu"] == pytest.approx(64 * flops[0] / 8e9)
    assert (found["memory_gib"], found["devices"]) == (0.5, 8)
    assert found["planned_gib"] > 0
    json.dumps(found)


def test_every_way_is_one_that_the_config_knows():
    for changes in accelerator.WAYS.values():
        case = CASE | {"changes": accelerator.PLAIN | changes}
        config = accelerator.make_config(case, 64).lock()
        assert config.train.batch_size == 64
        assert config.model.width == 0.125


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["opps"], r"unknown benchmarks \['opps'\]; known: \['accelerator'"),
        (["ops", "--smoke"], r"--smoke is for \['accelerator', 'compile'"),
        (
            ["accelerator", "--smoke", "--write"],
            r"--smoke is for \['accelerator', 'compile'",
        ),
        (["accelerator", "ops"], "alone: no other may hold the device"),
    ],
)
def test_bad_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit):
        __main__.main(arguments)
    assert re.search(message, capsys.readouterr().err)


def test_what_is_not_for_a_cpu_runs_only_when_named(monkeypatch):
    ran = []
    for name in __main__.BENCHMARKS:
        run = functools.partial(lambda name, repeats: ran.append(name), name)
        monkeypatch.setitem(__main__.BENCHMARKS, name, run)
    __main__.main([])
    assert ran == list(__main__.ON_A_CPU)
    __main__.main(["collectives"])
    assert ran[-1] == "collectives"
    assert not {"accelerator", "collectives"} & set(__main__.ON_A_CPU)
