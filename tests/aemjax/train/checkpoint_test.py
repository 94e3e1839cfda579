import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.train import checkpoint, sharding
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.state import TrainState
from tests.jobs import ROOT


def card(metric="mAP"):
    return Card(
        model={"name": "aemnet"},
        sample_rate=16_000,
        labels=["a", "b"],
        multi_label=True,
        metric=metric,
        commit="unknown",
        data={},
    )


def state(step, *, ema=False, devices=None):
    """Parameters that say which step they are of; those of the EMA are a hundredth."""

    def weights(value):
        return {
            "params": {"kernel": jnp.full((4, 3), value)},
            "batch_stats": {"mean": jnp.full((3,), 10 * value)},
        }

    made = TrainState(
        step=jnp.int32(step),
        opt_state={"count": jnp.int32(step)},
        ema=weights(step / 100)["params"] if ema else None,
        **weights(float(step)),
    )
    replicated, _ = sharding.shardings(sharding.data_mesh(devices))
    return jax.device_put(made, replicated)


def saved(folder, *, metric="mAP", ema=False):
    """Steps 0, 3 (the best) and 6 (the newest)."""
    with Checkpoints(folder, metric=metric) as checkpoints:
        for step, score in [(0, None), (2, 0.1), (3, 0.5), (6, 0.2)]:
            metrics = None if score is None else {metric: score}
            checkpoints.save(state(step, ema=ema), card(metric), metrics)
    return folder


def kernel(weights):
    assert isinstance(weights["params"]["kernel"], np.ndarray)
    return weights["params"]["kernel"][0, 0]


@pytest.mark.parametrize(
    ("which", "step"), [("", 3), ("@last", 6), ("@3", 3), ("@0", 0)]
)
def test_a_spec_names_the_best_the_newest_or_a_step(tmp_path, which, step):
    weights, found, loaded = checkpoint.load(f"{saved(tmp_path / 'run')}{which}")
    assert (loaded, found) == (step, card())
    assert kernel(weights) == step
    assert weights["batch_stats"]["mean"].tolist() == [10.0 * step] * 3


def test_specs_that_name_nothing_are_refused(tmp_path):
    folder = saved(tmp_path / "run")
    with pytest.raises(ValueError, match=r"@5: no such step; .* \[0, 3, 6\]"):
        checkpoint.load(f"{folder}@5")
    with pytest.raises(ValueError, match="holds no checkpoints/"):
        checkpoint.load(str(tmp_path))
    # The step is not taken for part of a bucket's name, nor a user for a step.
    with pytest.raises(ValueError, match="memory://bucket/run holds no checkpoints/"):
        checkpoint.load("memory://bucket/run@last")
    with pytest.raises(ValueError, match="memory://me@bucket/run holds no"):
        checkpoint.load("memory://me@bucket/run")


@pytest.mark.parametrize(
    ("metric", "expected"), [("mAP", 3.0), ("ema_mAP", np.float32(0.03))]
)
def test_the_weights_are_those_that_the_metric_scored(tmp_path, metric, expected):
    folder = saved(tmp_path / "run", metric=metric, ema=True)
    weights, _, step = checkpoint.load(str(folder))
    assert step == 3
    assert kernel(weights) == expected
    assert weights["batch_stats"]["mean"][0] == 30  # of either


def test_either_item_can_be_asked_for(tmp_path):
    with Checkpoints(saved(tmp_path / "run", ema=True), read_only=True) as kept:
        assert kernel(kept.load_weights(6)) == 6
        assert kernel(kept.load_weights(6, "ema")) == np.float32(0.06)
    with Checkpoints(saved(tmp_path / "without"), read_only=True) as kept:
        with pytest.raises(ValueError, match="step 6 of .* holds no 'ema'"):
            kept.load_weights(6, "ema")


@pytest.mark.parametrize("devices", [1, 4])
def test_a_state_comes_back_on_fewer_devices(tmp_path, devices):
    folder = saved(tmp_path / "run", ema=True)
    chosen = jax.devices()[:devices]
    replicated, _ = sharding.shardings(sharding.data_mesh(chosen))
    with Checkpoints(folder, read_only=True) as kept:
        like = state(0, ema=True, devices=chosen)
        found = kept.restore(like, step=6, sharding=replicated)
    jax.tree.map(np.testing.assert_array_equal, found, state(6, ema=True))
    assert all(leaf.sharding == replicated for leaf in jax.tree.leaves(found))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    folder = saved(tmp_path / "run")
    other = state(0).replace(params={"kernel": jnp.zeros((4, 5))})
    replicated, _ = sharding.shardings(sharding.data_mesh())
    with Checkpoints(folder, read_only=True) as kept:
        with pytest.raises(
            ValueError, match=r"kernel: \(4, 3\) in the checkpoint, \(4,"
        ):
            kept.restore(other, step=6, sharding=replicated)


def test_an_undefined_metric_is_refused(tmp_path):
    with Checkpoints(tmp_path, metric="mAP") as checkpoints:
        with pytest.raises(ValueError, match="metric is 'mAP', .* defined are"):
            checkpoints.save(state(1), card(), {"AUC": 0.5})


FULL = """
import os, resource, sys
from tests.aemjax.train.checkpoint_test import Checkpoints, card, state

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

for call in ("wait", "save", "close"):
    checkpoints = Checkpoints(f"{sys.argv[1]}/{call}", metric="mAP")
    checkpoints.save(state(1), card())
    checkpoints.wait()
    limit(50)
    try:
        checkpoints.save(state(2), card())
        if call == "save":
            checkpoints.save(state(3), card())
        getattr(checkpoints, call)()
    except OSError as error:
        limit(resource.RLIM_INFINITY)
        print("FOUND", call, error, flush=True)
os._exit(0)  # threads of Orbax may wait for minutes for what could not be written
"""


def test_a_save_that_cannot_be_written_is_one_clear_error(tmp_path):
    """As on a full disk: no file may be longer than 50 bytes."""
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=200,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("FOUND")]
    assert len(lines) == 3, ended.stdout
    for line, call in zip(lines, ("wait", "save", "close"), strict=True):
        folder = tmp_path / call
        assert f"{call} cannot write a checkpoint to {folder}/checkpoints: " in line
        assert line.endswith("; free space, then start the same command again")
        with Checkpoints(folder, metric="mAP") as kept:
            assert kept.steps == [1]
            kept.save(state(2), card())
        weights, _, _ = checkpoint.load(f"{folder}@last")
        assert kernel(weights) == 2
