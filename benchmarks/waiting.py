"""The share of its time that training waits for data, as its own log says.

The jobs of the demo, on sets as they have them and on long clips in every storage.
"""

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

import finetune.train
import pretrain.train
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import by_split
from aemjax.data.synthetic import synthesize
from benchmarks.pipeline import CLASSES, make_sets
from configs.finetune import demo as finetuning_demo
from configs.pretrain import demo as pretraining_demo

# Of the demo: classes and seconds of a clip.
SETS = {"audioset": (CLASSES, 2.0), "esc50": (10, 1.5)}
CLIPS, LONG_CLIPS = 500, 300
LONG_S = 10.0
CROP_S = 1.0
STEPS = 200


def run(*, repeats: int) -> list[dict]:
    """Prints and returns a row for each job and set; each is trained once."""
    del repeats  # a row is the median of a run's quarters
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for i, (name, (job, path)) in enumerate(_cases(folder).items()):
            config, train = job()
            shares = waited(config, train, PreparedSet(path), folder / f"run{i}")
            rows.append(
                {
                    "training": name,
                    "steps": STEPS,
                    "waiting for data": round(statistics.median(shares), 5),
                    "each": [round(share, 5) for share in shares],
                }
            )
            share = rows[-1]["waiting for data"]
            print(f"{name:<32} waits {share:.2%} of its time", flush=True)
    return rows


def _cases(folder: Path) -> dict[str, tuple[Callable, Path]]:
    for name, (classes, seconds) in SETS.items():
        twin = folder / f"{name}_twin"
        synthesize(name, twin, clips=CLIPS, classes=classes, seconds=seconds)
        prepare(name, twin, folder / name)
    cases = {
        "pretraining, the demo's clips": (_pretraining, folder / "audioset"),
        "fine-tuning, the demo's clips": (_finetuning, folder / "esc50"),
    }
    for data in make_sets(folder, clips=LONG_CLIPS, seconds=LONG_S):
        name = f"pretraining, {data.manifest['storage']}, {LONG_S:g} s"
        cases[name] = (_pretraining, data.path)
    return cases


def _pretraining() -> tuple[ConfigDict, Callable]:
    return pretraining_demo.get_config(), pretrain.train.train


def _finetuning() -> tuple[ConfigDict, Callable]:
    return finetuning_demo.get_config("scratch"), finetune.train.train


def waited(
    config: ConfigDict, train: Callable, data: PreparedSet, folder: Path
) -> list[float]:
    """Shares of the time that a job waits for data, of each quarter of its steps."""
    config.data.path = str(data.path)
    config.data.crop_s = min(config.data.crop_s, CROP_S)
    clips = len(by_split(data, config.data.train))
    epochs = STEPS * config.train.batch_size / clips
    config.train.update(epochs=epochs, log_every_steps=max(1, STEPS // 4))
    config.eval.every_epochs = epochs
    train(config, folder)
    (log,) = folder.rglob("metrics.jsonl")
    lines = map(json.loads, log.read_text().splitlines())
    return [line["train/data_wait"] for line in lines if "train/data_wait" in line]
