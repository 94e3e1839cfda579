import json
import re

import jax
import jax.numpy as jnp
import pytest

from aemjax import models
from aemjax.train.state import TrainState
from benchmarks import __main__, collectives, scaling, training
from tests.jobs import ROOT, TINY_MODEL

TINY = TINY_MODEL | {"width": 0.125}
CLOSE = scaling.System(4, 2, 1e9, (0.5, 1.0))


@pytest.fixture(scope="module")
def rows():
    return json.loads((ROOT / "benchmarks/results/scaling_cpu.json").read_text())[
        "rows"
    ]


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs/scaling.md").read_text()


@pytest.mark.slow
def test_a_smoke_run(monkeypatch, capsys):
    monkeypatch.setattr(scaling, "SMALL", (TINY,))
    __main__.main(["scaling", "--smoke", "--repeats", "2"])
    one, two, sent, *_ = capsys.readouterr().out.splitlines()
    assert " 1 devices,  2 clips:" in one and " 0 bytes a device" in one
    assert " 2 devices,  4 clips:" in two and " 0 bytes a device" not in two
    assert re.search(r"sends ([\d,]+) bytes, expected \1, in", sent)


def test_clips_are_compared_in_turn():
    row = scaling.compare([(2.0, 1.0), (3.0, 2.0), (4.0, 1.0)])
    assert row == {
        "steps/s": 0.333,
        "time of a clip / on one device": 2.0,
        "ratios": [2.0, 1.5, 4.0],
    }


def test_what_is_expected_by_hand():
    """Of 4 chips with 2 clips each, at 100 clips/s: 0.02 s, or 0.04 at half of it."""
    sent = {"bytes": 2_000_000, "collectives": {"all-reduce": 20}}
    found = scaling.expected(100.0, sent, CLOSE, 8)
    sending_s = 2 * 3 / 4 * 2e6 / 1e9
    worst, best = 0.04 + sending_s + 20 * 50e-6, 0.02
    assert found["clips/s"] == pytest.approx([8 / worst, 8 / best])
    assert found["share of linear"] == pytest.approx([0.04 / worst, 1.0])
    assert found["steps an epoch"] == 255_223
    assert found["seconds an epoch"][1] == pytest.approx(2_041_789 / 400)
    assert found["bytes/s to a host"][1] == 200 * 320_000


def test_at_best_the_slower_of_sending_and_computing_counts():
    sent = {"bytes": 40_000_000, "collectives": {"all-reduce": 1}}
    found = scaling.expected(100.0, sent, CLOSE, 8)
    assert found["clips/s"][1] == pytest.approx(8 / 0.06)
    assert found["share of linear"][1] == pytest.approx(0.02 / 0.06)


def test_a_network_whose_rate_is_unknown_is_left_out():
    sent = {"what": "sent", "bytes": 1, "collectives": {}}
    rows = [sent | {"network": "a"}, sent | {"network": "b"}, {"what": "split"}]
    found = scaling.forecast(rows, {"b": 10.0})
    assert [row["network"] for row in found] == ["b"] * len(scaling.SYSTEMS)


def test_the_quickest_of_ours_is_taken():
    rates = scaling.measured_rates()
    assert set(rates) == {scaling.title(model) for model in training.MODELS}
    assert rates["aemnet_dw 2.0, llf1"] == 2569.8


@pytest.mark.parametrize("model", training.MODELS, ids=scaling.title)
def test_bytes_that_were_counted_are_those_of_the_networks(rows, model):
    (row,) = (
        row
        for row in rows
        if row["what"] == "sent" and row["network"] == scaling.title(model)
    )
    network = models.create(**model, num_classes=527)
    variables = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, 3200)))
    )
    state = TrainState(step=0, opt_state=(), ema=None, **variables)
    assert row["bytes"] == row["expected_bytes"] == collectives.expected_bytes(state)
    assert set(row["collectives"]) == {"all-reduce"}


def test_the_page_says_what_the_command_prints(rows, page):
    expected = scaling.forecast(rows, scaling.measured_rates())
    assert [row for row in rows if row["what"] == "expected"] == expected
    assert scaling.table(expected) in page


def test_what_was_measured_stands_on_the_page(rows, page):
    rates, memory = scaling.measured_rates(), {}
    for row in json.loads(scaling.MEASURED.read_text())["rows"]:
        if row["clips/s"] == rates[row["model"]]:
            memory[row["model"]] = row["memory_gib"]
    for row in rows:
        name = row["network"]
        if row["what"] == "sent":
            line = f"{row['bytes']:,} | {row['collectives']['all-reduce']} "
            line += f"| {rates[name]:,.0f} | {memory[name]}"
        elif row["what"] == "split":
            line = f"{row['devices']} | {row['bytes']:,} | {row['steps/s']:.1f} "
            line += f"| {row['time of a clip / on one device']:.2f}"
        else:
            continue
        assert f"| {name} | {line} |" in page
    assert f"at most {max(memory.values())} GiB" in page


def test_speeds_of_v5e_stand_on_the_page(page):
    low, high = scaling.V5E_SPEED
    assert f"between {low:.2f} and {high:.2f} times as quick" in page
