"""What all twins share: random streams, 16-bit files, work spread over processes."""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def stream(*key: int) -> np.random.Generator:
    """The generator of one `key` of non-negative integers, the seed first."""
    return np.random.default_rng(key)


def write_wav(path: Path, wave: np.ndarray, sample_rate: int) -> None:
    """Writes "t" or "t 2" floats in [-1, 1] as 16-bit PCM."""
    samples = np.round(wave * 32767).astype(np.int16)
    soundfile.write(path, samples, sample_rate, subtype="PCM_16")


def for_each(
    function: Callable[[Any], None], jobs: Sequence[Any], workers: int
) -> None:
    """Calls `function` on every job, here or in `workers` processes.

    Raises:
        ValueError: if `workers` is below 1.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; need at least 1")
    if workers == 1:
        for job in jobs:
            function(job)
        return
    # Not fork: the caller may run JAX, whose threads do not survive one.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        min(workers, os.cpu_count() or 1), mp_context=context
    ) as pool:
        for _ in pool.map(function, jobs, chunksize=max(len(jobs) // 64, 1)):
            pass
