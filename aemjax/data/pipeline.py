"""Batches from a prepared set, read ahead by grain.

What a batch holds is a function of (rows, order, seed, batch size, step) alone: the same
global batches whatever the number of processes, threads and restarts. Audio stays
int16 until it is on the device, with its clip's mean and deviation beside it.
"""

import dataclasses
import logging
import sys
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import grain
import numpy as np
from jaxtyping import Int16

from aemjax.audio.lengths import bucket_samples, clip_windows
from aemjax.data import sampling
from aemjax.data.prepared import PreparedSet

Batch = dict[str, np.ndarray]

MAX_DAMAGED = 100


@runtime_checkable
class Teacher(Protocol):
    """Has outputs for the clips of a set, such as `teachers.StoredTeacher`."""

    def probabilities(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(float32 "n k", bool "n": whether the clip has any) of rows of the set."""


@dataclasses.dataclass(frozen=True)
class CropBatches:
    """Step -> a process' batch of random crops.

    Global batch i holds the positions i * batch_size and on of an endless sequence: the
    epochs, each of them as many draws from `rows` as there are, in an order of its own.
    A process reads its contiguous part.

    A record that cannot be read is replaced by the one after it in `rows`, so that all
    others stay in the batches where they were; it is logged, and counted in `damaged`.

    Attributes:
      data: the prepared set.
      rows: of it, those to train on.
      batch_size: global.
      crop_samples: length of every crop.
      seed: of the crops.
      order: of each epoch; None: every row once, shuffled by the seed.
      teacher: whose outputs for the clips go along.
      max_damaged: records that this process replaces before it gives up.
    """

    data: PreparedSet
    rows: np.ndarray
    batch_size: int
    crop_samples: int
    seed: int
    order: sampling.Order | None = None
    teacher: Teacher | None = None
    max_damaged: int = MAX_DAMAGED
    process_index: int = 0
    process_count: int = 1
    damaged: set[int] = dataclasses.field(default_factory=set)

    def __post_init__(self):
        if self.batch_size % self.process_count:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of "
                f"{self.process_count} processes"
            )
        if self.order is None:
            shuffled = sampling.shuffled(len(self.rows), seed=self.seed)
            object.__setattr__(self, "order", shuffled)

    def scalars(self) -> dict[str, int]:
        """What to log: "damaged_records", so far, of this process."""
        return {"damaged_records": len(self.damaged)}

    def read(self, step: int) -> Batch:
        local = self.batch_size // self.process_count
        own = self.process_index * local + np.arange(local)
        # Every process draws for all, and keeps what is its own.
        rng = sampling.rng(self.seed, "crop", step)
        draws = rng.integers(2**32, size=self.batch_size)[own]
        epochs, places = np.divmod(step * self.batch_size + own, len(self.rows))
        audio = np.empty((local, self.crop_samples), np.int16)
        rows = np.empty(local, np.int64)
        for i in range(local):
            position = int(self.order(int(epochs[i]))[places[i]])
            rows[i] = self._read_crop(position, int(draws[i]), audio[i])
        batch = {
            "audio": audio,
            "mean": self.data.mean[rows],
            "std": self.data.std[rows],
            "labels": self.data.labels_multi_hot(rows),
        }
        if self.teacher is not None:
            batch["teacher"], taught = self.teacher.probabilities(rows)
            batch["taught"] = taught.astype(np.float32)
        return batch

    def _read_crop(self, position: int, draw: int, out: np.ndarray) -> int:
        """Fills `out`; returns the row that it came from."""
        while True:
            row = int(self.rows[position % len(self.rows)])
            try:
                read_crop(self.data, row, draw, out)
            except ValueError as error:
                if row not in self.damaged:
                    logging.warning("%s; the next record stands in", error)
                self.damaged.add(row)
                if len(self.damaged) > min(self.max_damaged, len(self.rows) - 1):
                    raise ValueError(
                        f"{error}; this is damaged record number {len(self.damaged)}, "
                        f"data.max_damaged is {self.max_damaged}"
                    ) from error
            else:
                return row
            position += 1


def read_crop(
    data: PreparedSet, row: int, draw: int, out: Int16[np.ndarray, "t"]
) -> None:
    """Fills `out` from a random place of a row; a shorter clip is looped.

    Args:
      draw: uniform in [0, 2**32), for the place.

    Raises:
      ValueError: if the record is damaged.
    """
    n_samples = int(data.n_samples[row])
    spare = n_samples - len(out)
    if spare >= 0:
        data.read_into(row, draw * (spare + 1) >> 32, out)
        return
    start = draw * n_samples >> 32
    audio = data.read_audio(row)
    np.take(audio, np.arange(start, start + len(out)), mode="wrap", out=out)


@runtime_checkable
class Reader(Protocol):
    """Has a process' batch of each step, such as `CropBatches`."""

    def read(self, step: int) -> Batch: ...


def train_batches(
    batches: Reader, *, start_step: int = 0, threads: int = 4
) -> Iterator[Batch]:
    """Endless batches of this process, from `start_step` on, read ahead.

    Each is {"audio": int16 "b t", "mean": "b", "std": "b", "labels": "b k"}: the
    process' contiguous rows of the global batch. With a stored teacher, also its
    probabilities "teacher" "b k", and "taught" "b": 1 where it knows the clip, else 0.

    Args:
      threads: readers.
    """
    steps = grain.MapDataset.range(start_step, sys.maxsize)
    return iter(steps.map(batches.read).to_iter_dataset(_read_options(threads)))


def eval_batches(
    data: PreparedSet,
    rows: np.ndarray,
    *,
    batch_size: int,
    threads: int = 4,
    process_index: int = 0,
    process_count: int = 1,
    window_samples: int = 0,
    hop_samples: int = 0,
) -> Iterator[Batch]:
    """Every row once, as a whole clip, longest first, each batch padded to one length.

    Each batch is {"audio": int16 "b t", "lengths", "mean", "std", "row": "b", "mask":
    float32 "b"}. Lengths are few, so that few shapes are compiled; the last batch is
    filled with rows of mask 0; every process gets the same number of batches.

    Args:
      batch_size: global.
      window_samples: longer clips come as windows of this length, so that a row comes
        several times; 0: as they are.
      hop_samples: between the beginnings of windows.

    Raises:
      ValueError: if the processes do not divide the batch.
    """
    if batch_size % process_count:
        raise ValueError(
            f"batch_size {batch_size} is not a multiple of {process_count} processes"
        )
    local = batch_size // process_count
    pieces = windows(
        data,
        longest_first(data, rows),
        window_samples=window_samples,
        hop_samples=hop_samples,
    )
    plan = []
    for start in range(0, len(pieces), batch_size):
        part = pieces[start : start + batch_size]
        whole = np.full((batch_size, 3), -1)
        whole[: len(part)] = part
        own = whole[process_index * local : (process_index + 1) * local]
        plan.append((bucket_samples(int(part[:, 2].max())), own))

    def read(item: tuple[int, np.ndarray]) -> Batch:
        return _read_pieces(data, item[1], item[0])

    dataset = grain.MapDataset.source(plan).map(read)
    return iter(dataset.to_iter_dataset(_read_options(threads)))


def longest_first(data: PreparedSet, rows: np.ndarray) -> np.ndarray:
    """The rows, by the length of their clips."""
    return np.asarray(rows)[np.argsort(-data.n_samples[rows], kind="stable")]


def windows(
    data: PreparedSet, rows: np.ndarray, *, window_samples: int, hop_samples: int
) -> np.ndarray:
    """(row, start, samples) "n 3" of each row's windows; the last one ends with the clip.

    Args:
      window_samples: 0: whole clips.
    """
    pieces = []
    for row in rows:
        found = clip_windows(
            int(data.n_samples[row]),
            window_samples=window_samples,
            hop_samples=hop_samples,
        )
        pieces += [(row, *piece) for piece in found]
    return np.array(pieces, np.int64).reshape(-1, 3)


def _read_pieces(data: PreparedSet, pieces: np.ndarray, n_samples: int) -> Batch:
    rows = pieces[:, 0]
    audio = np.zeros((len(rows), n_samples), np.int16)
    lengths = np.full(len(rows), n_samples, np.int32)
    for i, (row, start, length) in enumerate(pieces.tolist()):
        if row >= 0:
            lengths[i] = length
            data.read_into(row, start, audio[i, :length])
    mask = (rows >= 0).astype(np.float32)
    return {
        "audio": audio,
        "lengths": lengths,
        "mean": np.where(mask, data.mean[rows], 0),
        "std": np.where(mask, data.std[rows], 1),
        "row": rows.astype(np.int32),
        "mask": mask,
    }


def _read_options(threads: int) -> grain.ReadOptions:
    """Two batches ahead for each reader."""
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
