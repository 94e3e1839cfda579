"""One of two processes: reads a run's checkpoints, and agrees with the other.

python -m tests.aemjax.train.two_processes INDEX PORT RUN
"""

import json
import os
import signal
import sys
import time

if __name__ == "__main__":  # a test that imports this has devices of its own
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax  # noqa: E402
import numpy as np  # noqa: E402

from aemjax.train import checkpoint, distributed, workdir  # noqa: E402

SILENCE_S = 15


def refusal(refuse) -> str:
    """What the ValueError says that `refuse` ends in."""
    try:
        refuse()
    except ValueError as error:
        return str(error)
    raise AssertionError("it was not refused")


def write_to_a_full_disk():
    raise OSError(f"no space left for process {jax.process_index()}")


def lock_twice(run: str):
    with workdir.locked(run), workdir.locked(run):
        pass


def asked_until_preempted(*, terminate: bool) -> int:
    """How often it was asked whether to stop, until it was so."""
    if terminate:
        os.kill(os.getpid(), signal.SIGTERM)
    for asked in range(1, 600):
        if distributed.preempted():
            return asked
        time.sleep(0.05)
        distributed.agree(os.getpid)  # in step, as training keeps them
    raise AssertionError("SIGTERM was not heard of")


def main(index: int, port: int, run: str) -> None:
    distributed.initialize(
        coordinator_address=f"localhost:{port}",
        process_count=2,
        process_index=index,
        silence_timeout_s=SILENCE_S,
    )
    with distributed.ending_together(silence_timeout_s=SILENCE_S):
        weights, card, step = checkpoint.load(run)
        leaves = jax.tree.leaves(weights)
        with checkpoint.Checkpoints(run, metric="mAP", read_only=True) as kept:
            found = {
                "step": step,
                "labels": card.labels,
                "total": float(sum(np.abs(leaf).sum() for leaf in leaves)),
                "best_step": kept.best_step,
                "score": kept.metrics(step)["mAP"],
            }
        found["agreed"] = distributed.agree(lambda: {"from": jax.process_index()})
        found["error"] = refusal(lambda: distributed.agree(write_to_a_full_disk))
        own = {"seed": index, "data": {"path": f"disk{index}"}}
        found["other"] = refusal(lambda: workdir.open_workdir(f"{run}_other", own))
        found["lock"] = refusal(lambda: lock_twice(run))
        found["asked"] = asked_until_preempted(terminate=index == 1)
        print("FOUND" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
