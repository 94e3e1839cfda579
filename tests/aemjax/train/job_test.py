"""What SIGTERM does to a job where no training loop notes it."""

import os
import signal
import time

import pytest

from aemjax.train import job
from aemjax.train.loop import Preempted
from tests import jobs
from tests.jobs import tiny_finetune


def test_one_process_ends_wherever_it_is():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match="is kept; the same command goes on"):
        with job._ending_alone():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_a_scoring_is_preempted_as_training_is(tmp_path, esc50):
    config = tiny_finetune(esc50, "scratch")
    config.eval.resamples = 200_000
    process = jobs.start(
        "finetune",
        "configs/finetune/esc50.py:scratch",
        tmp_path / "run",
        jobs.overrides(config),
    )
    for line in process.stdout:
        if "step 5: " in line:  # the last: what follows is scored
            break
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    ((code, output),) = jobs.finish([process])
    assert code == 75, output
    assert "preempted: what was finished is kept" in output
