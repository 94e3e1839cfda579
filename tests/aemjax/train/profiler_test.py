import jax
import jax.numpy as jnp
import pytest

from aemjax.train.profiler import Profiler


@pytest.fixture
def calls(monkeypatch):
    """What the profiler is told, without a trace."""
    found = []
    profiler = jax.profiler
    monkeypatch.setattr(profiler, "start_trace", lambda path: found.append(path))
    monkeypatch.setattr(profiler, "stop_trace", lambda: found.append("stop"))
    return found


def run(profiler, steps, calls):
    """How many calls had been made before each step, and after the last."""
    made = []
    with profiler:
        for step in steps:
            profiler.at(step, [])
            made.append(len(calls))
    return [*made, len(calls)]


def test_a_trace_of_the_steps_asked_for(tmp_path):
    with Profiler((1, 3), tmp_path) as profiler:
        for step in range(5):
            profiler.at(step, [jnp.ones(3) * step])
            assert (tmp_path / "profile").exists() == (step >= 3)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_it_records_from_the_first_to_before_the_last(calls):
    made = run(Profiler((2, 4), "runs/a"), range(6), calls)
    assert calls == ["runs/a/profile", "stop"]
    assert made == [0, 0, 1, 1, 2, 2, 2]


def test_a_run_that_starts_within_or_after_the_steps(calls):
    assert run(Profiler((2, 4), "a"), range(3, 6), calls) == [1, 2, 2, 2]
    assert run(Profiler((2, 4), "a"), range(4, 6), calls) == [2, 2, 2]


def test_the_end_of_a_run_ends_the_trace(calls):
    assert run(Profiler((2, 9), "a"), range(4), calls) == [0, 0, 1, 1, 2]
    with pytest.raises(KeyError), Profiler((0, 2), "a") as profiler:
        profiler.at(0, [])
        raise KeyError
    assert calls == ["a/profile", "stop"] * 2


def test_nothing_asked_for_is_nothing_recorded(calls):
    assert run(Profiler(None, "a"), range(4), calls) == [0] * 5


@pytest.mark.parametrize("steps", [(-1, 2), (2, 2), (3, 1)])
def test_steps_out_of_order_are_refused(steps):
    with pytest.raises(ValueError, match="profile_steps is .*, expected 0 <= first <"):
        Profiler(steps, "a")
