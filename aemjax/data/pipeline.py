"""Batches from a prepared set, read by grain.

What a batch holds is a function of (rows, seed, batch size, step) alone: the same
global batches whatever the number of processes, threads and restarts. Audio stays
int16 until it is on the device, with its clip's mean and deviation beside it.
"""

import dataclasses
import logging
from collections.abc import Iterator

import grain
import numpy as np

from aemjax.data.prepared import PreparedSet

Batch = dict[str, np.ndarray]

MAX_DAMAGED = 100


@dataclasses.dataclass(frozen=True)
class RandomCrop(grain.transforms.RandomMap):
    """Position in `rows` -> example with a random crop of that row's clip.

    A record that cannot be read is replaced by the one after it in `rows`, so that all
    others stay in the batches where they were; it is logged, and counted in `damaged`.
    """

    data: PreparedSet
    rows: np.ndarray
    crop_samples: int
    damaged: set[int] = dataclasses.field(default_factory=set)

    def random_map(self, position: int, rng: np.random.Generator) -> Batch:
        row, audio = self._read(int(position))
        return {
            "audio": random_crop(audio, self.crop_samples, rng),
            "mean": self.data.mean[row],
            "std": self.data.std[row],
            "labels": self.data.labels_multi_hot(np.array([row]))[0],
        }

    def _read(self, position: int) -> tuple[int, np.ndarray]:
        while True:
            row = int(self.rows[position % len(self.rows)])
            try:
                return row, self.data.read_audio(row)
            except ValueError as error:
                if row not in self.damaged:
                    logging.warning("%s; the next record stands in", error)
                self.damaged.add(row)
                if len(self.damaged) > min(MAX_DAMAGED, len(self.rows) - 1):
                    raise
            position += 1


def random_crop(
    audio: np.ndarray, crop_samples: int, rng: np.random.Generator
) -> np.ndarray:
    """`crop_samples` samples from a random place; a shorter clip is looped."""
    spare = len(audio) - crop_samples
    if spare >= 0:
        start = rng.integers(spare + 1)
        return audio[start : start + crop_samples]
    start = rng.integers(len(audio))
    return np.take(audio, np.arange(start, start + crop_samples), mode="wrap")


def train_batches(
    data: PreparedSet,
    rows: np.ndarray,
    *,
    batch_size: int,
    crop_samples: int,
    seed: int,
    start_step: int = 0,
    threads: int = 4,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Endless batches of this process, from `start_step` on.

    Each is {"audio": int16 "b t", "mean": "b", "std": "b", "labels": "b k"}: the
    process' contiguous rows of the global batch. Rows are reshuffled every epoch.

    Args:
      rows: of `data`, those to train on.
      batch_size: global.
      crop_samples: length of every crop.
      seed: of order and crops.
      threads: readers.

    Raises:
      ValueError: if the processes do not divide the batch.
    """
    if batch_size % process_count:
        raise ValueError(
            f"batch_size {batch_size} is not a multiple of {process_count} processes"
        )
    dataset = (
        grain.MapDataset.range(len(rows))
        .seed(seed)
        .shuffle()
        .repeat(None)
        .random_map(RandomCrop(data, rows, crop_samples))
        .batch(batch_size // process_count)
    )
    # Slicing after the batch: batch i of this process is its share of global batch i.
    dataset = dataset[process_index::process_count][start_step:]
    return iter(dataset.to_iter_dataset(_read_options(threads)))


def eval_batches(
    data: PreparedSet,
    rows: np.ndarray,
    *,
    batch_size: int,
    threads: int = 4,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Every row once, as whole clips, longest first, each batch padded to one length.

    Each batch is {"audio": int16 "b t", "lengths", "mean", "std", "row": "b", "mask":
    float32 "b"}. Lengths are few, so that few shapes are compiled; the last batch is
    filled with rows of mask 0; every process gets the same number of batches.

    Args:
      batch_size: global.

    Raises:
      ValueError: if the processes do not divide the batch.
    """
    if batch_size % process_count:
        raise ValueError(
            f"batch_size {batch_size} is not a multiple of {process_count} processes"
        )
    local = batch_size // process_count
    longest_first = np.asarray(rows)[np.argsort(-data.n_samples[rows], kind="stable")]
    plan = []
    for start in range(0, len(longest_first), batch_size):
        part = longest_first[start : start + batch_size]
        whole = np.full(batch_size, -1)
        whole[: len(part)] = part
        own = whole[process_index * local : (process_index + 1) * local]
        plan.append((bucket_samples(int(data.n_samples[part[0]])), own))

    def read(item: tuple[int, np.ndarray]) -> Batch:
        return _read_whole(data, item[1], item[0])

    dataset = grain.MapDataset.source(plan).map(read)
    return iter(dataset.to_iter_dataset(_read_options(threads)))


def _read_whole(data: PreparedSet, rows: np.ndarray, n_samples: int) -> Batch:
    audio = np.zeros((len(rows), n_samples), np.int16)
    lengths = np.full(len(rows), n_samples, np.int32)
    for i, row in enumerate(rows):
        if row >= 0:
            samples = data.read_audio(int(row))
            audio[i, : len(samples)] = samples
            lengths[i] = len(samples)
    mask = (rows >= 0).astype(np.float32)
    return {
        "audio": audio,
        "lengths": lengths,
        "mean": np.where(mask, data.mean[rows], 0),
        "std": np.where(mask, data.std[rows], 1),
        "row": rows.astype(np.int32),
        "mask": mask,
    }


def bucket_samples(n_samples: int) -> int:
    """A length that clips of about `n_samples` are padded to: at most a quarter more.

    Four lengths to an octave, so that few shapes are compiled; whole 10 ms frames.
    """
    quantum = 2 ** max(10, n_samples.bit_length() - 3)
    padded = -(-n_samples // quantum) * quantum
    return padded + -padded % 160


def _read_options(threads: int) -> grain.ReadOptions:
    """Two batches ahead for each reader."""
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
