"""From shards on disk to standardised float32 on the device, beside a `DataLoader`.

For each storage, crop and number of readers, clips a second from a warm page cache of

- our pipeline: threads, int16 to the device, standardised there;
- a PyTorch `DataLoader` of as many processes, over a file for each clip, of which it
  reads the crop alone, by NumPy or soundfile, and standardises it;
- bare reads of as many bytes from the same shards, by as many threads,

in turn, so that a drifting machine cancels out; every clip was read once before, so that
ours has checked it.
"""

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import soundfile as sf

from aemjax.audio.augment import standardize
from aemjax.audio.read import MIN_STD, SAMPLE_RATE
from aemjax.data import records
from aemjax.data.pipeline import CropBatches, train_batches
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.synthetic import synthesize
from aemjax.train.sharding import data_mesh, global_batch, shardings
from benchmarks.parity import need_pytorch
from benchmarks.read import digits


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of what is measured.

    Attributes:
      clips: of the set, of `clip_s`; of one that is given, at least so many are read.
      seconds: of each measurement.
    """

    clips: int = 300
    clip_s: float = 10.0
    crops_s: tuple[float, ...] = (1.0, 10.0)
    batch: int = 32
    seconds: float = 1.0


SMOKE = Sizes(clips=40, clip_s=1.0, crops_s=(0.2,), batch=8, seconds=0.05)
AHEAD = 2  # batches that are read ahead for each reader, on every side
CLASSES = 20


def run(*, repeats: int, smoke: bool = False, data: str | None = None) -> list[dict]:
    """Prints and returns a row for each storage, crop and number of readers.

    Args:
      data: a prepared set to read, instead of synthetic ones.

    Raises:
      ImportError: if PyTorch is not installed.
    """
    need_pytorch()
    sizes = SMOKE if smoke else Sizes()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if data:
            sets = [PreparedSet(data)]
        else:
            sets = make_sets(folder, clips=sizes.clips, seconds=sizes.clip_s)
        rows = []
        for source in sets:
            rows += compare(source, folder, sizes, repeats=repeats)
    return rows


def make_sets(folder: Path, *, clips: int, seconds: float) -> list[PreparedSet]:
    """An AudioSet twin, prepared in every storage."""
    twin = folder / "twin"
    synthesize("audioset", twin, clips=clips, classes=CLASSES, seconds=seconds)
    for storage in records.STORAGES:
        prepare("audioset", twin, folder / storage, storage=storage)
    return [PreparedSet(folder / storage) for storage in records.STORAGES]


def readers() -> list[int]:
    """1, 2, 4, ... up to as many as there are cores."""
    cores = len(os.sched_getaffinity(0))
    return [2**i for i in range(cores.bit_length())]


def compare(
    data: PreparedSet, folder: Path, sizes: Sizes, *, repeats: int
) -> list[dict]:
    """The rows of one set.

    Args:
      folder: to which the clips are written, a file for each.

    Raises:
      ValueError: if the set has fewer clips than a batch.
    """
    storage = data.manifest["storage"]
    paths, clips = first_shards(data, sizes.clips)
    if len(clips) < sizes.batch:  # of which a `DataLoader` makes no batch, for ever
        raise ValueError(
            f"{data.path} has {len(clips)} clips, expected a batch of {sizes.batch} or "
            "more; choose a larger set"
        )
    files = write_files(data, clips, folder / f"{storage}_files")
    rows = []
    for crop_s in sizes.crops_s:
        crop_samples = round(crop_s * SAMPLE_RATE)
        lengths = np.minimum(data.n_samples[clips], crop_samples)
        bytes_per_sample = sum(p.stat().st_size for p in paths) / sum(
            data.n_samples[clips]
        )
        crop_bytes = round(float(lengths.mean() * bytes_per_sample))
        dataset = Crops(
            storage,
            files,
            data.n_samples[clips],
            data.mean[clips],
            data.std[clips],
            crop_samples,
        )
        for count in readers():
            with contextlib.ExitStack() as stack:
                sides = [
                    stack.enter_context(contextlib.closing(side))
                    for side in (
                        ours(data, clips, crop_samples, sizes.batch, count),
                        theirs(dataset, sizes.batch, count),
                        bare(paths, crop_bytes, sizes.batch, count),
                    )
                ]
                rates = [
                    [rate(side, sizes, ahead=AHEAD * count) for side in sides]
                    for _ in range(repeats)
                ]
            rows.append(
                {"storage": storage, "crop_s": crop_s, "readers": count}
                | summarize(rates)
            )
            print(describe(rows[-1]), flush=True)
    return rows


def first_shards(data: PreparedSet, clips: int) -> tuple[list[Path], np.ndarray]:
    """(paths, rows) of the first shards that hold so many clips, or of all."""
    paths, counts = data.shard_paths()
    ends = np.cumsum(counts)
    shards = min(int(np.searchsorted(ends, clips)) + 1, len(paths))
    return [Path(path) for path in paths[:shards]], np.arange(ends[shards - 1])


def write_files(data: PreparedSet, rows: np.ndarray, folder: Path) -> list[str]:
    """The clips as files: the bytes that the records hold, as samples or as FLAC."""
    storage = data.manifest["storage"]
    folder.mkdir()
    paths = [str(folder / f"{row}.{storage}") for row in rows]
    for row, path in zip(rows.tolist(), paths, strict=True):
        audio = data.read_audio(row)
        records.to_storage(audio, storage, SAMPLE_RATE).tofile(path)
    return paths


@dataclasses.dataclass(frozen=True)
class Crops:
    """What the `DataLoader` reads: standardised random crops, short clips looped.

    Labels, which ours carries, are left out.
    """

    storage: str
    paths: Sequence[str]
    n_samples: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    crop_samples: int

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        n_samples = int(self.n_samples[index])
        spare = n_samples - self.crop_samples
        if spare >= 0:
            start = random.randrange(spare + 1)
            audio = self._read(index, start, self.crop_samples)
        else:
            start = random.randrange(n_samples)
            places = np.arange(start, start + self.crop_samples)
            audio = np.take(self._read(index, 0, n_samples), places, mode="wrap")
        audio -= self.mean[index]
        audio /= max(self.std[index], MIN_STD)
        return audio

    def _read(self, index: int, start: int, count: int) -> np.ndarray:
        path = self.paths[index]
        if self.storage == "flac":
            return sf.read(path, count, start, dtype="float32")[0]
        audio = np.fromfile(path, np.int16, count, offset=2 * start)
        return audio.astype(np.float32) / 32_768


def ours(
    data: PreparedSet, rows: np.ndarray, crop_samples: int, batch: int, threads: int
) -> Iterator:
    """Batches on the device, standardised."""
    _, split = shardings(data_mesh(jax.devices()[:1]))
    crops = CropBatches(data, rows, batch, crop_samples, seed=0)
    on_device = jax.jit(standardize)
    with contextlib.closing(train_batches(crops, threads=threads)) as batches:
        for found in batches:
            found = global_batch(found, split)
            yield on_device(found["audio"], found["mean"], found["std"])


def theirs(dataset: Crops, batch: int, processes: int) -> Iterator:
    """PyTorch's batches on its device."""
    import torch
    from torch.utils.data import DataLoader

    # JAX' threads forbid a fork of this process; one that has imported all does not.
    multiprocessing.set_forkserver_preload([__name__])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loader = DataLoader(
        dataset,
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=processes,
        persistent_workers=True,
        prefetch_factor=AHEAD,
        pin_memory=device == "cuda",
        multiprocessing_context="forkserver",
    )
    while True:
        for found in loader:
            yield found.to(device, non_blocking=True)


def bare(paths: Sequence[Path], size: int, batch: int, threads: int) -> Iterator:
    """Batches of reads of so many bytes at random places, into the same memory."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("rb", buffering=0)) for path in paths]
        # Of a shard that is shorter, all is read.
        ends = [max(0, path.stat().st_size - size) for path in paths]

        def read(number: int) -> int:
            rng, buffer = random.Random(number), bytearray(size)
            for _ in range(batch):
                i = rng.randrange(len(files))
                os.preadv(files[i].fileno(), [buffer], rng.randrange(ends[i] + 1))
            return number

        pool = stack.enter_context(ThreadPoolExecutor(threads))
        ahead = collections.deque(pool.submit(read, i) for i in range(AHEAD * threads))
        while True:
            number = ahead.popleft().result()
            ahead.append(pool.submit(read, number + len(ahead) + 1))
            yield number


def rate(batches: Iterator, sizes: Sizes, *, ahead: int) -> float:
    """Clips/s, past what was read ahead."""
    for _ in range(2 * ahead):
        _wait_for(next(batches))
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < sizes.seconds:
        _wait_for(next(batches))
        count += sizes.batch
    return count / (time.perf_counter() - start)


def _wait_for(batch) -> None:
    if isinstance(batch, jax.Array):
        batch.block_until_ready()


def summarize(rates: Sequence[Sequence[float]]) -> dict:
    """Medians of (ours, theirs, bare) in turn, so that a drifting machine cancels out."""
    mine, peer, limit = (statistics.median(side) for side in zip(*rates, strict=True))
    ratios = [digits(own / other) for own, other, _ in rates]
    return {
        "clips/s": round(mine),
        "DataLoader, clips/s": round(peer),
        "bare reads, clips/s": round(limit),
        "/ DataLoader": digits(statistics.median(ratios)),
        "/ bare reads": digits(statistics.median(a / c for a, _, c in rates)),
        "each / DataLoader": ratios,
    }


def describe(row: dict) -> str:
    """A row as a line."""
    return (
        f"{row['storage']:<6} crops of {row['crop_s']:>4} s, {row['readers']} readers: "
        f"{row['clips/s']:6} clips/s, / DataLoader = {row['/ DataLoader']:.2f} "
        f"{row['each / DataLoader']}, / bare reads = {row['/ bare reads']:.3f}"
    )
