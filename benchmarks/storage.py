"""int16 against FLAC: bytes on disk, and clips read a second."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from aemjax.data.pipeline import CropBatches, train_batches
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.records import STORAGES
from aemjax.data.synthetic import synthesize

CLIPS = 300
CLIP_S = 10
CROPS_S = (1, 10)
BATCH = 50
BATCHES = 30  # that are timed
THREADS = 2


def run(*, repeats: int) -> list[dict]:
    """Prints and returns sizes and rates as ratios, FLAC over int16.

    The clips are mixtures of an AudioSet twin, of 16 to 48 kHz; of a set of your own:
    `aemjax prepare` it both ways, and see `bytes` in its manifest.json.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        synthesize("audioset", folder / "twin", clips=CLIPS, seconds=float(CLIP_S))
        sets = {}
        for storage in STORAGES:
            out = folder / storage
            prepare("audioset", folder / "twin", out, storage=storage)
            sets[storage] = PreparedSet(out)
        sizes = {
            storage: sum(split["bytes"] for split in data.manifest["splits"].values())
            for storage, data in sets.items()
        }
        rows = [{"what": "bytes", "flac / int16": sizes["flac"] / sizes["int16"]}]
        for crop_s in CROPS_S:
            ratios = [
                _seconds(sets["int16"], crop_s) / _seconds(sets["flac"], crop_s)
                for _ in range(repeats)
            ]
            ratio = statistics.median(ratios)
            rows.append({"what": f"clips/s, {crop_s} s", "flac / int16": ratio})
    for row in rows:
        print(f"{row['what']:<14} flac / int16 = {row['flac / int16']:.3f}")
    return rows


def _seconds(data: PreparedSet, crop_s: int) -> float:
    crops = CropBatches(data, np.arange(len(data)), BATCH, crop_s * 16_000, seed=0)
    start = time.perf_counter()  # before its threads read ahead
    batches = train_batches(crops, threads=THREADS)
    for _ in range(BATCHES):
        next(batches)
    return time.perf_counter() - start
