"""Runs that are killed, in processes of their own, end as the unbroken one does."""

import json
import signal
import time

import jax
import numpy as np
import pytest

from aemjax.train import checkpoint, writer
from tests import jobs

CONFIG = "configs/pretrain/aemresnet_audioset.py"
STEPS = 12


@pytest.fixture(scope="module")
def overrides(audioset):
    shrunk = jobs.overrides(jobs.tiny_pretrain(audioset))
    return shrunk | {"train.log_every_steps": 1}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, overrides):
    folder = tmp_path_factory.mktemp("resume") / "unbroken"
    code, output = jobs.run("pretrain", CONFIG, folder, overrides)
    assert code == 0, output
    assert json.loads((folder / "results.json").read_text())["steps"] >= STEPS
    return folder


def kill_when(process, reached, signal_number):
    """Sends the signal as soon as `reached()`; the exit code after it."""
    while process.poll() is None:
        if reached():
            process.send_signal(signal_number)
            process.communicate(timeout=120)
            return process.returncode
        time.sleep(0.002)
    pytest.fail(f"the run ended first: {process.communicate()[0]}")


def assert_same_end(folder, unbroken):
    mine, _, _ = checkpoint.load(f"{folder}@last")
    theirs, _, _ = checkpoint.load(f"{unbroken}@last")
    jax.tree.map(np.testing.assert_array_equal, mine, theirs)

    def timeless(lines):
        return [
            {
                k: v
                for k, v in line.items()
                if "clips_per_s" not in k and "wait" not in k
            }
            for line in lines
        ]

    assert timeless(writer.read(folder)) == timeless(writer.read(unbroken))
    for name in ("results.json", "config.json"):
        assert json.loads((folder / name).read_text()) == json.loads(
            (unbroken / name).read_text()
        )


def test_killed_in_training_and_in_a_save(tmp_path, overrides, unbroken):
    folder = tmp_path / "run"
    saves = folder / "checkpoints"

    def training():
        lines = writer.read(folder)
        return lines and lines[-1]["step"] >= 4

    def saving():
        return any(
            path.name.split(".")[0] not in ("0", "3", "5", "6")
            for path in saves.glob("*.orbax-checkpoint-tmp")
        )

    for reached in (training, saving):
        process = jobs.start("pretrain", CONFIG, folder, overrides)
        code = kill_when(process, reached, signal.SIGKILL)
        assert code == -signal.SIGKILL
    code, output = jobs.run("pretrain", CONFIG, folder, overrides)
    assert code == 0, output
    assert "resumed at step" in output
    assert not list(saves.glob("*.orbax-checkpoint-tmp"))
    assert_same_end(folder, unbroken)


def test_preempted(tmp_path, overrides, unbroken):
    folder = tmp_path / "run"
    process = jobs.start("pretrain", CONFIG, folder, overrides)
    code = kill_when(process, lambda: len(writer.read(folder)) >= 2, signal.SIGTERM)
    assert code == 75
    with checkpoint.Checkpoints(folder, read_only=True) as kept:
        saved = kept.latest_step
    assert saved >= 2
    code, output = jobs.run("pretrain", CONFIG, folder, overrides)
    assert code == 0, output
    assert f"resumed at step {saved} of" in output
    mine, _, _ = checkpoint.load(f"{folder}@last")
    theirs, _, _ = checkpoint.load(f"{unbroken}@last")
    jax.tree.map(np.testing.assert_array_equal, mine, theirs)


def test_a_misspelt_key_is_an_error(tmp_path, overrides):
    misspelt = overrides | {"train.epoch": 3.0}
    code, output = jobs.run("pretrain", CONFIG, tmp_path / "run", misspelt)
    assert code == 1
    (line,) = (line for line in output.splitlines() if line.startswith("error: "))
    assert line.startswith(
        "error: the config has no field 'epoch'; is 'epochs' meant? "
    )
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_bad_input_is_one_line(tmp_path, overrides):
    wrong = overrides | {"data.path": tmp_path / "nowhere"}
    code, output = jobs.run("pretrain", CONFIG, tmp_path / "run", wrong)
    assert code == 1
    assert output.strip().splitlines()[-1].startswith("error: ")
    assert "nowhere is not a prepared set" in output
    assert "Traceback" not in output


def test_two_processes_do_not_share_a_folder(tmp_path, unbroken):
    from aemjax.train import workdir

    with workdir.locked(unbroken):
        with pytest.raises(ValueError, match="another process is training in"):
            with workdir.locked(unbroken):
                pass
    with workdir.locked(unbroken):
        pass
