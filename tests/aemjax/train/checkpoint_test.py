import logging
import shutil
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.train import checkpoint, sharding
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.state import TrainState
from tests.jobs import ROOT, finish, free_port


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
    message = r"@{}: no such step; .* \[0, 3, 6\], .*; without '@' it is the best step$"
    for which in ("5", "best"):
        with pytest.raises(ValueError, match=message.format(which)):
            checkpoint.load(f"{folder}@{which}")
    with pytest.raises(ValueError, match="nowhere holds no .* a run's folder$"):
        checkpoint.load(str(tmp_path / "nowhere"))
    # The step is not taken for part of a bucket's name, nor a user for a step.
    with pytest.raises(ValueError, match="memory://bucket/run holds no checkpoints/"):
        checkpoint.load("memory://bucket/run@last")
    with pytest.raises(ValueError, match="memory://me@bucket/run holds no"):
        checkpoint.load("memory://me@bucket/run")


def test_a_run_within_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for fold in (2, 1):
        (tmp_path / f"esc50/fold{fold}_seed0/checkpoints").mkdir(parents=True)
    for spec in ("esc50", "esc50/", "esc50@last"):
        with pytest.raises(ValueError, match=r"; did you mean esc50/fold1_seed0\?$"):
            checkpoint.load(spec)


def test_reading_warns_of_nothing(tmp_path, caplog):
    folder = saved(tmp_path / "run")
    caplog.clear()
    checkpoint.load(str(folder))
    assert not caplog.records
    logging.getLogger("absl").warning("of something else")
    assert caplog.messages == ["of something else"]


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


@pytest.mark.parametrize("keep_latest", [0, -1])
def test_the_newest_step_is_kept(tmp_path, keep_latest):
    message = f"checkpoint.keep_latest is {keep_latest}, expected 1 or more"
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path / "run", keep_latest=keep_latest)
    assert not (tmp_path / "run").exists()


def damage(folder, path, how, *, step=6):
    """Damages the largest file at or below a path of a step."""
    path = folder / "checkpoints" / str(step) / path
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    if how == "gone":
        largest.unlink()
    else:
        whole = largest.read_bytes()
        largest.write_bytes(whole[: len(whole) // 2] if how == "half" else b"")


def go_on(folder):
    """The state at the newest step, as a run that goes on reads it."""
    replicated, _ = sharding.shardings(sharding.data_mesh())
    with Checkpoints(folder, metric="mAP") as kept:
        step = kept.latest_step
        return kept.restore(state(0), step=step, sharding=replicated)


# Orbax leaves at the first error; TensorStore may tell it of others a little later.
LATE = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@LATE
@pytest.mark.parametrize("how", ["half", "empty", "gone"])
@pytest.mark.parametrize(
    "path",
    ["weights/d", "weights/_METADATA", "optimizer/d", "optimizer/manifest.ocdbt"],
)
def test_a_run_goes_on_without_a_damaged_step(tmp_path, path, how):
    folder = saved(tmp_path / "run")
    damage(folder, path, how)
    with pytest.raises(ValueError) as caught:
        go_on(folder)
    told = str(caught.value)
    assert told.startswith(f"{folder}/checkpoints/6 is damaged (")
    assert told.endswith("); remove that step's folder to go on from step 3")
    assert "\n" not in told and "tensorstore_spec" not in told
    shutil.rmtree(folder / "checkpoints/6")
    jax.tree.map(np.testing.assert_array_equal, go_on(folder), state(3))


@pytest.mark.parametrize("how", ["half", "empty"])
def test_a_run_goes_on_without_damaged_metrics(tmp_path, how):
    folder = saved(tmp_path / "run")
    damage(folder, "metrics/metrics", how)
    with pytest.raises(
        ValueError, match=r"/6 is damaged \(metrics: Expecting .*\); remove that step"
    ):
        go_on(folder)
    shutil.rmtree(folder / "checkpoints/6")
    assert go_on(folder).step == 3


@LATE
@pytest.mark.parametrize("how", ["half", "empty", "gone"])
@pytest.mark.parametrize("path", ["weights/d", "weights/_METADATA", "card/metadata"])
def test_another_step_loads_where_one_is_damaged(tmp_path, monkeypatch, path, how):
    monkeypatch.setattr(checkpoint, "DELETION_S", 0)
    folder = saved(tmp_path / "run")
    damage(folder, path, how)
    item = path.partition("/")[0]
    with pytest.raises(ValueError) as caught:
        checkpoint.load(f"{folder}@last")
    told = str(caught.value)
    assert told.startswith(f"{folder}/checkpoints/6 is damaged ({item}: ")
    assert told.endswith(f"); take another step, such as {folder}@3")
    assert kernel(checkpoint.load(f"{folder}@3")[0]) == 3


def test_a_step_without_weights_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "DELETION_S", 0)
    folder = saved(tmp_path / "run")
    shutil.rmtree(folder / "checkpoints/6/weights")
    with pytest.raises(ValueError, match=r"/6 is damaged \(weights: .* such as .*@3$"):
        checkpoint.load(f"{folder}@last")


def test_damaged_metrics_keep_the_best_from_being_found(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "DELETION_S", 0)
    folder = saved(tmp_path / "run")
    damage(folder, "metrics/metrics", "empty")
    with pytest.raises(ValueError, match=r"6 is damaged \(metrics: .* such as .*@3$"):
        checkpoint.load(str(folder))
    for which, step in [("@3", 3), ("@last", 6)]:
        assert kernel(checkpoint.load(f"{folder}{which}")[0]) == step


def test_where_all_is_damaged_none_is_offered(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "DELETION_S", 0)
    with Checkpoints(tmp_path / "run", metric="mAP") as checkpoints:
        checkpoints.save(state(0), card())
    damage(tmp_path / "run", "card/metadata", "half", step=0)
    with pytest.raises(ValueError, match=r"0 is damaged .*; its run holds no other"):
        checkpoint.load(str(tmp_path / "run"))


@pytest.mark.parametrize("read", ["card", "load_weights"])
@pytest.mark.parametrize(("which", "score"), [("", 0.9), ("@last", 0.3)])
def test_a_step_may_go_while_it_is_read(tmp_path, monkeypatch, read, which, score):
    monkeypatch.setattr(checkpoint, "DELETION_S", 0)
    folder = saved(tmp_path / "run")
    original, training = getattr(Checkpoints, read), []

    def after_another_save(self, step, *args):
        if not training:
            training.append(Checkpoints(folder, metric="mAP"))
            training[0].save(state(9), card(), {"mAP": score})
            training[0].close()
        return original(self, step, *args)

    monkeypatch.setattr(Checkpoints, read, after_another_save)
    weights, _, step = checkpoint.load(f"{folder}{which}")
    assert (kernel(weights), step) == (9, 9)


@pytest.fixture
def half_gone(tmp_path, monkeypatch):
    """A run whose newest step is being deleted: the rest goes when it is waited for."""
    folder = saved(tmp_path / "run")
    damage(folder, "card/metadata", "gone")

    def sleep(seconds):
        shutil.rmtree(folder / "checkpoints/6")

    monkeypatch.setattr(checkpoint, "time", types.SimpleNamespace(sleep=sleep))
    return folder


def test_a_step_may_be_half_gone_when_it_is_read(half_gone):
    assert kernel(checkpoint.load(f"{half_gone}@last")[0]) == 3


def test_a_step_that_was_asked_for_and_goes_is_no_longer_there(half_gone):
    with pytest.raises(ValueError, match=r"@6: no such step; .* holds \[0, 3\]"):
        checkpoint.load(f"{half_gone}@6")


def test_several_processes_do_not_choose_again(half_gone, monkeypatch):
    whole_steps = checkpoint.whole_steps

    def of_two_processes(folder):
        if not (half_gone / "checkpoints/6").exists():
            monkeypatch.setattr(jax, "process_count", lambda: 2)
        return whole_steps(folder)

    monkeypatch.setattr(checkpoint, "whole_steps", of_two_processes)
    with pytest.raises(ValueError, match=r"held \[0, 3, 6\] and now \[0, 3\], as its"):
        checkpoint.load(f"{half_gone}@last")


SEVERAL = """
import sys
from aemjax.train import distributed
from tests.aemjax.train.checkpoint_test import go_on

distributed.initialize(
    coordinator_address=f"localhost:{sys.argv[1]}",
    process_count=2,
    process_index=int(sys.argv[2]),
)
with distributed.ending_together():
    go_on(sys.argv[3])
"""


def test_a_damaged_step_ends_all_processes_alike(tmp_path):
    folder = saved(tmp_path / "run")
    damage(folder, "optimizer/d", "half")
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SEVERAL, port, str(index), str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    for index, (code, output) in enumerate(finish(processes)):
        assert code == 1, output
        assert f"error: {folder}/checkpoints/6 is damaged (state: " in output
        assert f"to go on from step 3 (process {index} of 2 on " in output


FULL = """
import os, resource, sys
from tests.aemjax.train.checkpoint_test import Checkpoints, card, state

runs = {}
for call in ("wait", "save", "close"):
    runs[call] = Checkpoints(f"{sys.argv[1]}/{call}", metric="mAP")
    runs[call].save(state(1), card())
    runs[call].wait()
# Lifted again, what still writes in the background would end well.
resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))
for call, checkpoints in runs.items():
    try:
        checkpoints.save(state(2), card())
        if call == "save":
            checkpoints.save(state(3), card())
        getattr(checkpoints, call)()
    except OSError as error:
        print("FOUND", call, error, flush=True)
os._exit(0)  # threads of Orbax may wait for minutes for what could not be written
"""


def test_a_save_that_cannot_be_written_is_one_clear_error(tmp_path):
    """No file may be longer than 50 bytes."""
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
        assert "File too large" in line
        assert line.endswith("; mend that, then start the same command again")
        with Checkpoints(folder, metric="mAP") as kept:
            assert kept.steps == [1]
            kept.save(state(2), card())
        weights, _, _ = checkpoint.load(f"{folder}@last")
        assert kernel(weights) == 2
