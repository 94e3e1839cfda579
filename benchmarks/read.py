"""Reading a prepared set back, against a PyTorch `DataLoader`, on two workers each.

Int16 crops in batches, from a warm page cache, in random order: ours by two threads,
PyTorch's by two processes. Its datasets are given every advantage that needs no
machinery of one's own: nothing is copied before the batch is made, and nothing but the
audio is returned (ours carries labels and statistics too).
"""

import dataclasses
import functools
import random
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
from array_record.python.array_record_data_source import ArrayRecordDataSource

from aemjax.audio.read import SAMPLE_RATE
from aemjax.data.pipeline import CropBatches, train_batches
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet, find_audio

CLIPS = 1000
CLIP_S = 10
CROPS_S = (1, 10)
BATCH = 64
WORKERS = 2
SECONDS = 1.5  # of each measurement, after
WARM_UP = 16  # batches: more than are read ahead


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What a `DataLoader` reads: random crops of the clips in a folder of `_write`."""

    folder: Path
    crop_samples: int

    def __len__(self) -> int:
        return CLIPS

    def __getitem__(self, index: int) -> np.ndarray:
        start = random.randrange(CLIP_S * SAMPLE_RATE - self.crop_samples + 1)
        return self.read(index, start, start + self.crop_samples)


class ArrayRecords(Dataset):
    """Whole records, as ArrayRecord reads them; the crop is a view."""

    @functools.cached_property  # opened by each worker
    def source(self) -> ArrayRecordDataSource:
        return ArrayRecordDataSource(sorted(self.folder.glob("set/*.array_record-*")))

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        record = self.source[index]
        begin = find_audio(record)[0] + 2 * start
        return np.frombuffer(record, np.int16, stop - start, begin)


class OurReader(Dataset):
    """The same records, read by `PreparedSet` as our own pipeline does."""

    @functools.cached_property
    def data(self) -> PreparedSet:
        return PreparedSet(self.folder / "set")

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        out = np.empty(stop - start, np.int16)
        self.data.read_into(index, start, out)
        return out


class Files(Dataset):
    """A .npy file for each clip, mapped into memory."""

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        path = self.folder / "clips" / f"{index}.npy"
        return np.load(path, mmap_mode="r")[start:stop]


class OneFile(Dataset):
    """All clips in one .npy file, mapped into memory."""

    @functools.cached_property
    def clips(self) -> np.ndarray:
        return np.load(self.folder / "all.npy", mmap_mode="r")

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        return self.clips[index, start:stop]


PEERS = (ArrayRecords, OurReader, Files, OneFile)


def run(*, repeats: int) -> list[dict]:
    """Prints and returns a row for each crop and peer: clips/s, and ours over theirs.

    "first reading" is our pipeline's first epoch, in which every record is read whole
    and checked; all else is what follows.
    """
    data_loader = _import_data_loader()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        _write(folder)
        for crop_s in CROPS_S:
            crop_samples = crop_s * SAMPLE_RATE
            ours = _ours(folder, crop_samples)
            _rate(ours, CLIPS // BATCH + 1)  # the first epoch
            first = _first_reading(folder, crop_samples)
            for peer in PEERS:
                theirs = _theirs(data_loader, peer(folder, crop_samples))
                rates = []
                for _ in range(repeats):
                    rates.append((_steady_rate(ours), _steady_rate(theirs), first()))
                del theirs  # ends its processes
                rows.append(_row(crop_s, peer.__name__, rates))
            ours.close()
    return rows


def _import_data_loader() -> type:
    try:
        from torch.utils.data import DataLoader
    except ImportError as error:
        raise ImportError(
            "PyTorch, which this project does not depend on, is not installed; "
            "`pip install torch`, in an environment of its own if you like"
        ) from error
    return DataLoader


def _write(folder: Path) -> None:
    """The same noise as a prepared set, as a file for each clip, and as one file."""
    rng = np.random.default_rng(0)
    (folder / "clips").mkdir()
    (folder / "wav" / "noise").mkdir(parents=True)
    clips = np.lib.format.open_memmap(
        folder / "all.npy", "w+", np.int16, (CLIPS, CLIP_S * SAMPLE_RATE)
    )
    for i in range(CLIPS):
        clips[i] = rng.integers(-3000, 3000, clips.shape[1])
        np.save(folder / "clips" / f"{i}.npy", clips[i])
        sf.write(folder / "wav" / "noise" / f"{i}.wav", clips[i], SAMPLE_RATE)
    prepare("manifest", folder / "wav", folder / "set")
    shutil.rmtree(folder / "wav")


def _ours(folder: Path, crop_samples: int) -> Iterator:
    data = PreparedSet(folder / "set")
    crops = CropBatches(data, np.arange(len(data)), BATCH, crop_samples, seed=0)
    return train_batches(crops, threads=WORKERS)


def _first_reading(folder: Path, crop_samples: int) -> Callable[[], float]:
    def measure() -> float:
        batches = _ours(folder, crop_samples)
        rate = _rate(batches, CLIPS // BATCH)
        batches.close()
        return rate

    return measure


def _theirs(data_loader: type, dataset: Dataset) -> Iterator:
    loader = data_loader(
        dataset,
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,
        prefetch_factor=4,
        multiprocessing_context="spawn",  # JAX' and ArrayRecord's threads forbid a fork
        worker_init_fn=_allow_views,
    )
    while True:
        yield from loader


def _allow_views(worker: int) -> None:
    """PyTorch warns of tensors over read-only memory, which are only copied here."""
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")


def _steady_rate(batches: Iterator) -> float:
    """Clips/s, past what was read ahead."""
    _rate(batches, WARM_UP)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        next(batches)
        count += BATCH
    return count / (time.perf_counter() - start)


def _rate(batches: Iterator, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        next(batches)
    return count * BATCH / (time.perf_counter() - start)


def _row(crop_s: int, peer: str, rates: list[tuple[float, float, float]]) -> dict:
    """Medians over measurements in turn, so that a drifting machine cancels out."""
    ours, theirs, first = (statistics.median(part) for part in zip(*rates, strict=True))
    ratios = [digits(a / b) for a, b, _ in rates]
    row = {
        "crop_s": crop_s,
        "DataLoader over": peer,
        "ours, clips/s": round(ours),
        "theirs, clips/s": round(theirs),
        "ours / theirs": digits(statistics.median(ratios)),
        "ratios": ratios,
        "first reading, clips/s": round(first),
        "first reading / theirs": digits(statistics.median(c / b for _, b, c in rates)),
    }
    print(
        f"crops of {crop_s:>2} s, DataLoader over {peer:<12} ours {ours:7.0f}, theirs "
        f"{theirs:7.0f} clips/s; ours / theirs = {row['ours / theirs']:.2f} {ratios}; "
        f"first reading {first:6.0f}, / theirs = {row['first reading / theirs']:.2f}",
        flush=True,
    )
    return row


def digits(ratio: float) -> float:
    """Three significant ones, however small it is."""
    return float(f"{ratio:.3g}")
