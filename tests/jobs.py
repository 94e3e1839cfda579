"""Small versions of the shipped configs, and jobs run in processes of their own."""

import concurrent.futures
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from configs.finetune import esc50
from configs.pretrain import aemresnet_audioset

ROOT = Path(__file__).parents[1]

TINY_MODEL = {"name": "tests.tiny:Backbone"}


def tiny_pretrain(data: Path) -> ConfigDict:
    """Checkpoint #1's config, shrunk until an epoch takes a second."""
    config = aemresnet_audioset.get_config()
    config.model.update(TINY_MODEL | {"num_classes": 12})
    config.data.update(path=str(data), crop_s=0.25, threads=1)
    config.data.train = "unbalanced_train+balanced_train"
    config.train.update(batch_size=16, epochs=2.0, log_every_steps=2)
    config.eval.update(batch_size=16, every_epochs=1.0)
    config.checkpoint.every_steps = 3
    return config


def tiny_finetune(data: Path, variant: str) -> ConfigDict:
    """ESC-50's config, shrunk in the same way; fold 1."""
    config = esc50.get_config(variant)
    config.model.update(TINY_MODEL | {"num_classes": 10})
    config.data.update(path=str(data), crop_s=0.25, threads=1, fold=1)
    config.train.update(batch_size=16, epochs=1.0, log_every_steps=2)
    config.eval.update(batch_size=16, every_epochs=1.0, resamples=40)
    return config


def overrides(config: ConfigDict) -> dict:
    """{"section.key": value} of the sections that shrinking changes."""
    sections = ("model", "data", "augment", "train", "eval", "checkpoint")
    return {
        f"{section}.{key}": value
        for section in sections
        for key, value in config[section].items()
        if value is not None
    }


def start(
    job: str,
    config: str,
    workdir: Path,
    overrides: dict,
    *,
    devices: int = 1,
    flags: tuple[str, ...] = (),
):
    """Starts `python -m JOB`; overrides are {"section.key": value}."""
    arguments = [f"--config.{key}={value}" for key, value in overrides.items()]
    xla = re.sub(r"(?<=device_count=)\d+", str(devices), os.environ["XLA_FLAGS"])
    return subprocess.Popen(
        [sys.executable, "-m", job, f"--config={config}", f"--workdir={workdir}"]
        + arguments
        + list(flags),
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": xla},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_several(
    *args,
    processes: int,
    flags: tuple[str, ...] = (),
    own: Sequence[tuple[str, ...]] | None = None,
    **kwargs,
) -> list:
    """Starts the processes of one job.

    `devices` are those of each, `flags` are for all; `own`: those of each.
    """
    address = f"localhost:{free_port()}"
    return [
        start(
            *args,
            flags=(
                f"--coordinator_address={address}",
                f"--process_count={processes}",
                f"--process_index={index}",
                *flags,
                *(own[index] if own else ()),
            ),
            **kwargs,
        )
        for index in range(processes)
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def finish(processes: list) -> list[tuple[int, str]]:
    """(exit code, output) of each; what still runs after five minutes is killed."""

    def wait(process) -> tuple[int, str]:
        try:
            output, _ = process.communicate(timeout=300)
        finally:
            process.kill()
        return process.returncode, output

    # All at once: one whose output nobody reads would stop, and with it the others.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(wait, processes))


def run(*args, **kwargs) -> tuple[int, str]:
    """(exit code, output) of a job that is left to finish."""
    process = start(*args, **kwargs)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output
