"""What training costs beside the device's step: the loop around it, and saving.

The peer, in the same run and in turn, is the bare compiled step on a batch that lies on
the device already.
"""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.synthetic import synthesize
from aemjax.train import sharding
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.loop import STEPS_AHEAD, Cadence, fit
from aemjax.train.profiler import Profiler
from aemjax.train.writer import open_writer
from configs.pretrain import distilled_audioset
from pretrain.train import Teaching, make_recipe

CLASSES = 20
CLIPS, CLIP_S, CROP_S = 200, 2, 1.0
BATCH = 32
MODEL = {"name": "aemnet_dw", "width": 2.0}
STEPS, WARM_UP = 12, STEPS_AHEAD + 1
SAVES = 2  # in as many steps
EVERY = 500  # steps that a save is spread over


def run(*, repeats: int) -> list[dict]:
    """Prints and returns one row: shares of the bare step's time."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        sizes = {"clips": CLIPS, "classes": CLASSES, "seconds": CLIP_S}
        synthesize("audioset", folder / "twin", **sizes)
        prepare("audioset", folder / "twin", folder / "set")
        bench = Bench(PreparedSet(folder / "set"))
        bench.bare(2)
        rows = []
        for i in range(repeats):
            bare = bench.bare(STEPS)
            loop = bench.loop(folder / f"loop{i}", saves=0)
            saving = bench.loop(folder / f"saving{i}", saves=SAVES)
            rows.append((loop / bare - 1, (saving - loop) * STEPS / SAVES / bare))
    host, save = (statistics.median(column) for column in zip(*rows, strict=True))
    row = {
        "model": f"{MODEL['name']} {MODEL['width']}, {CROP_S} s, batch {BATCH}",
        "loop / bare step - 1": round(host, 4),
        "bare steps that a save takes": round(save, 2),
        f"saving every {EVERY} steps / bare steps": round(save / EVERY, 5),
    }
    for name, value in row.items():
        print(f"{name:<40} {value}")
    return [row]


class Bench:
    """One model, on what devices there are."""

    def __init__(self, data: PreparedSet):
        config = distilled_audioset.get_config()
        config.model.update(MODEL | {"num_classes": CLASSES})
        config.distill.update(label_weight=1.0, teacher_weight=0.0)
        config.data.crop_s = CROP_S
        self._mesh = sharding.data_mesh()
        self._plan = make_recipe(
            config,
            models.create(**config.model),
            self._mesh,
            Teaching(),
            total_steps=STEPS,
            multi_label=True,
        )
        samples = round(CROP_S * SAMPLE_RATE)
        self._crops = pipeline.CropBatches(
            data, np.arange(len(data)), BATCH, samples, config.seed
        )
        self._card = Card.of_run(config.model.to_dict(), data.manifest, "mAP")

    def bare(self, steps: int) -> float:
        """Seconds of a step that waits for nothing."""
        _, split = sharding.shardings(self._mesh)
        batch = sharding.global_batch(self._crops.read(0), split)
        state = self._plan.create_state()
        state, _ = self._plan.train_step(state, batch)
        jax.block_until_ready(state)
        start = time.perf_counter()
        for _ in range(steps):
            state, _ = self._plan.train_step(state, batch)
        jax.block_until_ready(state)
        return (time.perf_counter() - start) / steps

    def loop(self, folder: Path, *, saves: int) -> float:
        """Seconds of a step of `fit`, with so many saves on the way."""
        times = []

        def batches(start_step: int):
            with contextlib.closing(
                pipeline.train_batches(self._crops, start_step=start_step)
            ) as source:
                for batch in source:
                    times.append(time.perf_counter())
                    yield batch

        every = STEPS // saves if saves else STEPS * 2
        total = STEPS + WARM_UP + 1
        with (
            Checkpoints(folder, metric="mAP") as checkpoints,
            open_writer(folder) as writer,
        ):
            fit(
                self._plan.create_state(),
                train_step=self._plan.train_step,
                batches=batches,
                evaluate=lambda state: {"mAP": 0.0},
                observe=self._plan.rates,
                mesh=self._mesh,
                cadence=Cadence(total, total, every, 100),
                flops_per_clip=self._plan.flops_per_clip,
                checkpoints=checkpoints,
                card=self._card,
                writer=writer,
                profiler=Profiler(None, folder),
            )
        # Whenever a batch is asked for, as many steps are under way.
        return (times[-1] - times[WARM_UP]) / STEPS
