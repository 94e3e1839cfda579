import logging
import types

import jax
import pytest

from aemjax.train import chips, progress, sharding


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def begin(step=0, *, devices=8):
    mesh = sharding.data_mesh(jax.devices()[:devices])
    return progress.Progress(step, 50, mesh=mesh, flops_per_clip=3e6)


def steps(made, clock, count, *, waits=0.0):
    for _ in range(count):
        with made.waiting():
            clock.now += waits
        clock.now += 2 - waits
        made.count(16)


def test_rates_of_a_stretch(clock, caplog):
    made = begin(step=10)
    steps(made, clock, 5, waits=0.5)
    with caplog.at_level(logging.INFO):
        found = made.report(0.25)
    assert found == pytest.approx({"clips_per_s": 8, "data_wait": 0.25})
    # 35 steps of 2 s are left.
    expected = "step 15/50 loss 0.2500, 8.0 clips/s, 25% waiting for data, 0:01:10 left"
    assert expected in caplog.messages


def test_a_stretch_begins_where_the_last_one_ended(clock, caplog):
    made = begin()
    steps(made, clock, 4, waits=1)
    made.report(1.0)
    steps(made, clock, 1)
    with caplog.at_level(logging.INFO):
        assert made.report(1.0) == {"clips_per_s": 8, "data_wait": 0}
    assert caplog.messages[-1].startswith("step 5/50 ")
    assert caplog.messages[-1].endswith("0:01:30 left")


def test_what_is_between_stretches_does_not_count(clock):
    made = begin()
    steps(made, clock, 2)
    made.report(1.0)
    clock.now += 1000  # an evaluation
    made.restart(2)
    steps(made, clock, 3)
    assert made.report(1.0)["clips_per_s"] == 8


@pytest.mark.parametrize("devices", [1, 8])
def test_utilisation_is_of_all_devices(clock, caplog, monkeypatch, devices):
    monkeypatch.setitem(chips.PEAK_FLOPS, "cpu", 1e8)
    made = begin(devices=devices)
    steps(made, clock, 2)
    with caplog.at_level(logging.INFO):
        found = made.report(1.0)
    assert found["mfu"] == pytest.approx(8 * 3e6 / (devices * 1e8))
    assert f"8.0 clips/s, {found['mfu']:.1%} of peak, 0% waiting" in caplog.text


def test_no_utilisation_of_a_chip_that_is_not_known(clock, caplog):
    with caplog.at_level(logging.INFO):
        made = begin()
    assert "no FLOP utilisation: the peak of 'cpu' is not in" in caplog.text
    steps(made, clock, 1)
    assert "mfu" not in made.report(1.0)


def test_memory_where_the_device_says(clock, monkeypatch):
    known = types.SimpleNamespace(
        peak_flops=lambda device: None, peak_memory_bytes=lambda device: 3 * 2**29
    )
    monkeypatch.setattr(progress, "chips", known)
    made = begin()
    steps(made, clock, 1)
    assert made.report(1.0)["memory_gib"] == 1.5


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00:00"), (59.6, "0:01:00"), (360_061.0, "100:01:01")]
)
def test_hours(seconds, text):
    assert progress._hours(seconds) == text


def test_without_steps_there_are_no_rates(clock, caplog):
    made = begin(step=10)
    with caplog.at_level(logging.INFO):
        assert made.report(0.25) == {}
    assert "step 10/50 loss 0.2500" in caplog.messages
