"""Several processes, one run: they find each other, agree, and end together.

JAX's coordination service lives in process 0 and hears from every process. When one
falls silent, or leaves while others go on, it aborts those that are left, with a
message that names the task. Added here: a process that fails says so and leaves, so
that none waits for it in vain; where all fail alike, all say so.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

START_TIMEOUT_S = 300
SILENCE_TIMEOUT_S = 60

_calls = itertools.count(1)


def initialize(
    *,
    coordinator_address: str | None = None,
    process_count: int | None = None,
    process_index: int | None = None,
    start_timeout_s: int = START_TIMEOUT_S,
    silence_timeout_s: int = SILENCE_TIMEOUT_S,
) -> None:
    """Joins the processes of a run; call it before anything touches a device.

    Without the first three, they are what SLURM's `srun` started, or the hosts of a
    TPU slice; anywhere else there is one, and nothing is done. Ends the process, with
    one line and exit code 1, when the others do not come.

    Args:
      coordinator_address: "HOST:PORT" of process 0, the same for all.
      process_count: how many there are.
      process_index: which of them this is, from 0.
      start_timeout_s: how long to wait for the others.
      silence_timeout_s: after which a process that is not heard of counts as dead.

    Raises:
      ValueError: if only some of the first three are given, or they do not fit.
    """
    if silence_timeout_s < 1:
        raise ValueError(
            f"process_timeout_s is {silence_timeout_s}, expected 1 or more"
        )
    given = (coordinator_address, process_count, process_index)
    if all(value is None for value in given):
        cluster = _cluster(os.environ)
        if cluster is None:
            return
        place = f"the coordinator that {cluster} names"
        method = "slurm" if cluster == "SLURM" else None
    else:
        _check(*given)
        place, method = coordinator_address, "deactivate"
    # Where JAX itself waits too long it aborts, with a page of C++.
    alarm = threading.Timer(start_timeout_s, _give_up, [place, start_timeout_s])
    alarm.daemon = True
    alarm.start()
    try:
        jax.distributed.initialize(
            coordinator_address,
            process_count,
            process_index,
            cluster_detection_method=method,
            initialization_timeout=start_timeout_s + 60,
            heartbeat_timeout_seconds=silence_timeout_s,
            shutdown_timeout_seconds=silence_timeout_s,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise ValueError(
            f"cannot start at {place}: {error}; is the port free?"
        ) from error
    finally:
        alarm.cancel()
    logging.info(
        "%s: %d of %d devices",
        whoami(),
        jax.local_device_count(),
        jax.device_count(),
    )


def _check(address: str | None, count: int | None, index: int | None) -> None:
    if None in (address, count, index):
        raise ValueError(
            f"coordinator_address is {address}, process_count {count}, process_index "
            f"{index}; give all three or none"
        )
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise ValueError(f"coordinator_address is {address!r}, expected HOST:PORT")
    if count < 1:
        raise ValueError(f"process_count is {count}, expected 1 or more")
    if not 0 <= index < count:
        raise ValueError(
            f"process_index is {index} of process_count {count}, expected 0 to "
            f"{count - 1}"
        )


def _cluster(environment: Mapping[str, str]) -> str | None:
    """What says which processes there are: SLURM, a TPU's metadata, or nothing."""
    if "SLURM_JOB_ID" in environment:
        # Only `srun` sets it; a batch script alone is one process, whatever it asked.
        if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
            return "SLURM"
    platforms = jax.config.jax_platforms or "tpu"
    if (
        "tpu" in platforms.split(",")
        and importlib.util.find_spec("libtpu")
        and _chips()
    ):
        return "the TPU"
    return None


def _chips() -> list[Path]:
    """The devices that TPU chips show up as; which of the two, the generation decides."""
    return [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]


def _give_up(place: str, seconds: int) -> None:
    sys.stderr.write(
        f"error: not all processes came to {place} within {seconds} s; start all of "
        "them with the same coordinator_address and process_count, where its host "
        "and port can be reached\n"
    )
    sys.stderr.flush()
    os._exit(1)


def whoami() -> str:
    """ "process 1 of 2 on HOST"; JAX's messages call it task 1."""
    return (
        f"process {jax.process_index()} of {jax.process_count()} on "
        f"{socket.gethostname()}"
    )


@contextlib.contextmanager
def ending_together(*, silence_timeout_s: int = SILENCE_TIMEOUT_S):
    """Leaves the other processes, when all are done or at once when this one fails.

    With several processes an error ends this one, with exit code 1 and the error on
    standard error; the others end within `silence_timeout_s`.
    """
    try:
        yield
    except BaseException as error:  # whatever it is, the others must not wait
        if jax.distributed.is_initialized():
            _abandon(error, silence_timeout_s)
        raise
    if jax.distributed.is_initialized():
        multihost_utils.sync_global_devices("the end of the run")
        jax.distributed.shutdown()


def _abandon(error: BaseException, silence_timeout_s: int) -> None:
    if not isinstance(error, ValueError | OSError):
        traceback.print_exception(error)
    # An error of XLA's may come of another process; JAX knows which, a little later.
    patience_s = silence_timeout_s / 2
    lines = [f"error: {error}" if str(error) else f"error: {type(error).__name__}"]
    if isinstance(error, jax.errors.JaxRuntimeError):
        patience_s = 2 * silence_timeout_s
        lines.append(
            "if another process has gone, JAX says which within "
            f"{silence_timeout_s} s; the last checkpoint is intact, start the same "
            "command again"
        )
    for line in lines:
        sys.stderr.write(f"{line} ({whoami()})\n")
    sys.stderr.flush()
    # Returns when all have failed alike; else JAX makes the others end.
    leaving = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    leaving.start()
    leaving.join(patience_s)
    os._exit(1)  # computations that wait for others would keep the interpreter


def preempted() -> bool:
    """Whether to stop, as SIGTERM came to any process; True once, for all alike.

    Every process calls it as often: once a step. With one process, always False.
    """
    # JAX's ids of steps must begin at 1 and never fall, or the one that it picks never
    # comes: a resumed run does not begin at 1, and every fold begins there again.
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(
        next(_calls)
    )


def agree(decide: Callable[[], Any]) -> Any:
    """What `decide` returns on the first process, on all of them; so too its errors.

    Args:
      decide: called on the first process alone; returns a JSON value.

    Raises:
      ValueError: what it raised, an OSError too, on every process.
    """
    if jax.process_count() == 1:
        return decide()
    told: dict[str, Any] = {}
    if jax.process_index() == 0:
        try:
            told = {"value": decide()}
        except (ValueError, OSError) as error:
            told = {"error": str(error)}
    told = _broadcast(told)
    if "error" in told:
        raise ValueError(told["error"])
    return told["value"]


def compare(value: Any) -> tuple[Any, list[int]]:
    """(the first process' value, which processes have another), on all of them.

    Args:
      value: of JSON.
    """
    if jax.process_count() == 1:
        return value, []
    first = _broadcast(value)
    differ = multihost_utils.process_allgather(np.int32(value != first))
    return first, np.flatnonzero(differ).tolist()


def _broadcast(value: Any) -> Any:
    """The first process' JSON value, on every process."""
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    sent = multihost_utils.broadcast_one_to_all(np.resize(text, size))
    return json.loads(sent.tobytes())
