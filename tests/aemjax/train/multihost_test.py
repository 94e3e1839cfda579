"""Runs of several processes, on this machine: 2 of 4 devices each are 8 devices."""

import json
import resource
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from aemjax.train import checkpoint, writer
from pretrain.train import train
from tests import jobs
from tests.aemjax.train.two_processes import SILENCE_S

CONFIG = "configs/pretrain/aemresnet_audioset.py"
SCRIPT = "tests.aemjax.train.two_processes"
FIRST_EVALUATION = 13
QUICK = (f"--process_timeout_s={SILENCE_S}",)


@pytest.fixture(scope="module")
def config(audioset):
    config = jobs.tiny_pretrain(audioset)
    config.train.update(epochs=8.0, log_every_steps=1)
    config.eval.every_epochs = 2.0
    config.checkpoint.every_steps = 10
    return config


@pytest.fixture(scope="module")
def alone(tmp_path_factory, config):
    """The run of one process with eight devices that nothing disturbs."""
    folder = tmp_path_factory.mktemp("multihost") / "alone"
    train(config, folder)
    return folder


def wait_for_step(processes, folder, step):
    while all(process.poll() is None for process in processes):
        lines = writer.read(folder)
        if lines and lines[-1]["step"] >= step:
            return
        time.sleep(0.01)
    pytest.fail(f"a process ended first: {jobs.finish(processes)}")


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory, config):
    """A run that two processes begin, and one process with four devices finishes.

    {"terminated", "killed": [(exit code, output)] of the processes, "finished": that of
    the last, "steps": those saved before each start, "folder"}.
    """
    folder = tmp_path_factory.mktemp("multihost") / "disturbed"
    job = ("pretrain", CONFIG, folder, jobs.overrides(config))

    def latest():
        with checkpoint.Checkpoints(folder, read_only=True) as kept:
            return kept.latest_step

    processes = jobs.start_several(*job, processes=2, devices=4)
    wait_for_step(processes, folder, 2)
    processes[1].send_signal(signal.SIGTERM)
    found = {"folder": folder, "terminated": jobs.finish(processes)}
    found["steps"] = [latest()]

    processes = jobs.start_several(*job, processes=2, devices=4, flags=QUICK)
    wait_for_step(processes, folder, max(found["steps"][0], FIRST_EVALUATION) + 4)
    processes[1].kill()
    found["killed"] = jobs.finish(processes)
    found["steps"].append(latest())

    found["finished"] = jobs.run(*job, devices=4)
    return found


def test_sigterm_to_one_process_ends_all_at_the_same_step(disturbed):
    saved = disturbed["steps"][0]
    for code, output in disturbed["terminated"]:
        assert code == 75, output
        assert f"preempted: saved at step {saved} of" in output


@pytest.mark.slow
def test_sigterm_to_all_processes_ends_them_at_the_same_step(tmp_path, config):
    job = ("pretrain", CONFIG, tmp_path / "run", jobs.overrides(config))
    processes = jobs.start_several(*job, processes=2, devices=4)
    wait_for_step(processes, tmp_path / "run", 2)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    ended = jobs.finish(processes)
    with checkpoint.Checkpoints(tmp_path / "run", read_only=True) as kept:
        saved = kept.latest_step
    for code, output in ended:
        assert code == 75, output
        assert f"preempted: saved at step {saved} of" in output


def test_a_start_says_which_process_it_is(disturbed):
    for index, (_, output) in enumerate(disturbed["terminated"]):
        assert f"process {index} of 2 on " in output
        assert "4 of 8 devices" in output


def test_the_first_process_speaks_for_all(disturbed):
    first, second = (output for _, output in disturbed["terminated"])
    assert "step 1/51 loss" in first
    assert "step 1/51 loss" not in second


def test_where_one_process_is_killed_the_other_ends_and_says_which(disturbed):
    (code, output), (killed, _) = disturbed["killed"]
    assert killed == -signal.SIGKILL
    assert code not in (0, 75), output
    assert f"resumed at step {disturbed['steps'][0]} of" in output
    assert "Task 1 heartbeat timeout" in output or "heartbeats):\n1\n" in output


@pytest.mark.slow
def test_four_devices_finish_what_eight_began(disturbed, alone):
    code, output = disturbed["finished"]
    assert code == 0, output
    assert f"resumed at step {disturbed['steps'][1]} of" in output
    results, expected = (
        json.loads((folder / "results.json").read_text())
        for folder in (disturbed["folder"], alone)
    )
    assert results["steps"] == expected["steps"]
    assert results["last"]["clips"] == expected["last"]["clips"]


def by_step(folder, name):
    lines = writer.read(folder)
    return {line["step"]: line[name] for line in lines if name in line}


def test_losses_are_those_of_one_process(disturbed, alone):
    found = by_step(disturbed["folder"], "train/loss")
    expected = by_step(alone, "train/loss")
    assert list(found) == list(expected) == list(range(1, len(expected) + 1))
    assert found[1] == pytest.approx(expected[1], abs=1e-5)
    np.testing.assert_allclose(
        list(found.values()), list(expected.values()), rtol=0, atol=1e-2
    )


def test_an_evaluation_scores_every_clip_once(disturbed, alone):
    assert FIRST_EVALUATION in by_step(alone, "eval/mAP")
    for name, within in [("clips", 0), ("classes", 0), ("mAP", 1e-3), ("AUC", 1e-3)]:
        found, expected = (
            by_step(folder, f"eval/{name}")[FIRST_EVALUATION]
            for folder in (disturbed["folder"], alone)
        )
        assert found == pytest.approx(expected, abs=within)


def test_every_process_saves_its_part(disturbed):
    folder = disturbed["folder"] / "checkpoints/0/weights"
    assert {path.name for path in folder.glob("ocdbt.process_*")} == {
        "ocdbt.process_0",
        "ocdbt.process_1",
    }


def test_two_processes_read_checkpoints_and_agree(alone):
    port = jobs.free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", SCRIPT, str(index), str(port), str(alone)],
            cwd=jobs.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    with checkpoint.Checkpoints(alone, metric="mAP", read_only=True) as kept:
        best = kept.best_step
        score = kept.metrics(best)["mAP"]
    weights, card, _ = checkpoint.load(str(alone))
    total = float(sum(np.abs(leaf).sum() for leaf in jax.tree.leaves(weights)))
    asked = set()
    others = [
        "process 1 has another config, data set, commit or package than process 0; it "
        "says which",
        "the processes of a run must have the same; 1 entries differ:\n  seed: 0 in "
        "process 0, 1 in this one",
    ]
    for other, (code, output) in zip(others, jobs.finish(processes), strict=True):
        assert code == 0, output
        found = json.loads(output[output.index("FOUND") + 5 :].splitlines()[0])
        asked.add(found.pop("asked"))
        assert found == {
            "step": best,
            "labels": card.labels,
            "best_step": best,
            "score": score,
            "total": pytest.approx(total),
            "agreed": {"from": 0},
            "other": other,
            "error": "no space left for process 0",
            "lock": f"another process is training in {alone}; wait for it, or stop it",
        }
    assert len(asked) == 1  # both stop at the same step
    assert not alone.with_name(f"{alone.name}_other").exists()


def test_a_config_that_does_not_fit_ends_all_with_one_line(tmp_path, config):
    wrong = jobs.overrides(config) | {"train.batch_size": 12}
    processes = jobs.start_several(
        "pretrain", CONFIG, tmp_path / "run", wrong, processes=2, devices=4
    )
    for index, (code, output) in enumerate(jobs.finish(processes)):
        assert code == 1, output
        (line,) = (line for line in output.splitlines() if line.startswith("error: "))
        assert "batch_size 12 is not a multiple of 16" in line
        assert f"process {index} of 2" in line
        assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_error_on_one_host_ends_the_others(tmp_path, config):
    job = ("pretrain", CONFIG, tmp_path / "run", jobs.overrides(config))
    own = [(), ("--config.data.path=nowhere",)]
    processes = jobs.start_several(*job, processes=2, devices=4, flags=QUICK, own=own)
    (code, output), (failed_code, failed) = jobs.finish(processes)
    assert failed_code == 1, failed
    assert "nowhere is not a prepared set" in failed
    assert "process 1 of 2" in failed
    assert code not in (0, 75), output
    assert "The first task at the barrier: 1." in output


@pytest.mark.slow
def test_a_full_disk_is_one_clear_error(tmp_path, config):
    folder = tmp_path / "run"
    process = jobs.start("pretrain", CONFIG, folder, jobs.overrides(config))
    wait_for_step([process], folder, 2)
    # No file of this process may grow longer: what a full disk does, but to it alone.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (50_000, 50_000))
    ((code, output),) = jobs.finish([process])
    assert code == 1, output
    (line,) = (line for line in output.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: cannot write a checkpoint to {folder}/checkpoints")
    assert line.endswith("mend that, then start the same command again")
    with checkpoint.Checkpoints(folder, read_only=True) as kept:
        assert kept.steps == [0]
        kept.load_weights(0)
