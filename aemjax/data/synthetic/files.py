"""What all twins share: random streams, audio files, tables, work over processes."""

import concurrent.futures
import csv
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io.wavfile
import soundfile
import soxr
from jaxtyping import Float

# What a twin whose files have many rates makes its sounds at: cheaper than 44.1 kHz,
# and the sounds end at 7 kHz.
SAMPLE_RATE = 16000


def stream(*key: int) -> np.random.Generator:
    """The generator of one `key` of non-negative integers, the seed first."""
    return np.random.default_rng(key)


def resample(wave: Float[np.ndarray, " t"], sample_rate: int) -> np.ndarray:
    """Audio of `SAMPLE_RATE` at another rate, "t" floats."""
    if sample_rate == SAMPLE_RATE:
        return wave
    return soxr.resample(wave, SAMPLE_RATE, sample_rate, quality="HQ")


def write_audio(
    path: Path, wave: np.ndarray, sample_rate: int, subtype: str = "PCM_16"
) -> None:
    """Writes "t" or "t c" floats in [-1, 1] in the format that the suffix says.

    `subtype` is one of libsndfile's encodings.
    """
    if subtype == "PCM_16":
        wave = np.round(wave * 32767).astype(np.int16)
    if subtype == "FLOAT":
        # libsndfile would write the time of day into the file.
        scipy.io.wavfile.write(path, sample_rate, wave.astype(np.float32))
    else:
        soundfile.write(path, wave, sample_rate, subtype=subtype)


def pan(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mono "t" to stereo "t 2": one side is up to 6 dB quieter."""
    side = rng.uniform(-0.5, 0.5)
    return wave[:, None] * np.minimum([1 + side, 1 - side], 1)


def write_table(
    path: Path,
    rows: Iterable[Sequence],
    *,
    delimiter: str = ",",
    line_end: str = "\n",
    encoding: str = "utf-8",
) -> None:
    """Writes rows, the header first; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end)
        writer.writerows(rows)


def shares(weights: Sequence[float | int], total: int) -> list[int]:
    """Whole numbers in proportion to `weights` that add up to `total`.

    A greater total makes none of them smaller (Webster's method, of seats for votes).
    """
    counts = np.zeros(len(weights), int)
    for _ in range(total):
        counts[np.argmax(np.asarray(weights) / (2 * counts + 1))] += 1
    return counts.tolist()


def six_digits(number: int, seed: int) -> str:
    """A recording's name; different for 899,981 numbers in a row."""
    # The modulus is a prime, so steps of 7919 come back after all of them.
    return str(100_000 + ((number + 31 * (seed % 1000)) * 7919) % 899_981)


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
