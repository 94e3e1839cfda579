"""What training makes of an accelerator: every figure of it, in one run on one host.

    python -m benchmarks accelerator --write

For each model and way to train, the compiled step of `pretrain` on batches that lie on
the devices already: the largest batch that fits (sizes double until memory is full),
clips/s, the share of the chips' peak, memory. The peer of every way is the plain one, in
bfloat16, in the same run, at the largest batch that fits both. Each way has a process of
its own, so that its memory is its own. `--smoke` tries it all out on a CPU, tiny.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.train import chips, compiled, sharding
from aemjax.train.distill import Distillation
from configs.pretrain import aemresnet_audioset
from pretrain.compile_only import step_recipe
from pretrain.train import Teaching

MODELS = {
    "AemResNet": {"name": "aemresnet"},
    "AemNet-DW 2.0": {"name": "aemnet_dw", "width": 2.0},
}
PLAIN = {"model.dtype": "bfloat16"}
WAYS = {
    "plain": {},
    "float32": {"model.dtype": "float32"},
    "remat conv": {"train.remat": "conv"},
    "remat block": {"train.remat": "block"},
    "4 microbatches": {"train.microbatches": 4},
    "taught by AemResNet": {"distill.teacher_weight": 0.9, "distill.label_weight": 0.1},
    "log_mel": {"model.frontend": "log_mel"},
}
SIZES = {"crop_s": 10.0, "width": 1.0, "first": 16, "last": 4096, "steps": 10}
SMOKE = {"crop_s": 0.2, "width": 0.125, "first": 4, "last": 4, "steps": 1}


def run(*, repeats: int, smoke: bool = False) -> list[dict]:
    """Prints and returns a row for each model and way."""
    sizes = (SMOKE if smoke else SIZES) | {"repeats": repeats}
    rows = []
    for title, model in MODELS.items():
        found = {}
        for way, changes in WAYS.items():
            case = {"model": model, "changes": PLAIN | changes, "sizes": sizes}
            found[way] = _measure_elsewhere(case)
            rows.append({"model": title, "way": way} | summarize(found, way))
            print(describe(rows[-1]))
    return rows


def summarize(found: Mapping[str, list[dict]], way: str) -> dict:
    """What stands at the largest batch, and how it compares with the plain way.

    Args:
      found: rows of `measure` by way, the plain one's among them.
    """
    if not found[way]:
        return {"batch": None}
    plain = {row["batch"]: row for row in found["plain"]}
    shared = [row for row in found[way] if row["batch"] in plain]
    row = found[way][-1]
    if shared:
        row = row | {"compared_at": shared[-1]["batch"]}
        for key in ("clips_per_s", "planned_gib"):
            peer = plain[row["compared_at"]][key]
            row[f"{key} / plain"] = round(shared[-1][key] / peer, 3)
    return row


def describe(row: Mapping) -> str:
    """A row as a line."""
    line = f"{row['model']:<14} {row['way']:<20}"
    if row["batch"] is None:
        return line + " does not fit"
    line += f" batch {row['batch']:>5}, {row['clips_per_s']:9.1f} clips/s"
    line += f", {row['mfu']:6.1%} of peak" if row["mfu"] else ""
    line += f", {row['memory_gib'] or row['planned_gib']:6.2f} GiB"
    if "compared_at" in row:
        rate, memory = row["clips_per_s / plain"], row["planned_gib / plain"]
        line += f"; / plain at {row['compared_at']}: {rate:.2f}, memory {memory:.2f}"
    return line


def _measure_elsewhere(case: dict) -> list[dict]:
    """In a process that ends with its memory; rows as far as it came."""
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.accelerator", json.dumps(case)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return [json.loads(line) for line in output.splitlines()]


def measure(case: Mapping) -> Iterator[dict]:
    """A row for each batch that fits, the sizes doubling."""
    mesh = sharding.data_mesh()
    sizes = case["sizes"]
    batch = sizes["first"] * mesh.size
    while batch <= sizes["last"] * mesh.size:
        try:
            row = measure_batch(case, mesh, batch)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return
        yield row
        batch *= 2


def measure_batch(case: Mapping, mesh: Mesh, batch_size: int) -> dict:
    """The step of a case at one global batch.

    Raises:
      JaxRuntimeError: RESOURCE_EXHAUSTED where it does not fit.
    """
    config = make_config(case, batch_size)
    plan = step_recipe(config, mesh, teaching(config, mesh))
    batch = sharding.global_batch(noise(config), sharding.shardings(mesh)[1])
    state = plan.create_state()
    step = plan.train_step.compile(state, batch)
    state, _ = step(state, batch)
    rates = []
    for _ in range(case["sizes"]["repeats"]):
        jax.block_until_ready(state)
        start = time.perf_counter()
        for _ in range(case["sizes"]["steps"]):
            state, _ = step(state, batch)
        jax.block_until_ready(state)
        seconds = time.perf_counter() - start
        rates.append(case["sizes"]["steps"] * batch_size / seconds)
    rate, device = statistics.median(rates), mesh.local_devices[0]
    peak, memory = chips.peak_flops(device), chips.peak_memory_bytes(device)
    cost = compiled.cost(step.compiled)
    return {
        "device": device.device_kind,
        "devices": mesh.size,
        "batch": batch_size,
        "clips_per_s": rate,
        "mfu": peak and rate * plan.flops_per_clip / (peak * mesh.size),
        "memory_gib": memory and memory / 2**30,
        "planned_gib": (cost.arguments_bytes + cost.temporaries_bytes) / 2**30,
    }


def make_config(case: Mapping, batch_size: int) -> ConfigDict:
    """Checkpoint #1's config with what the case changes."""
    config = aemresnet_audioset.get_config()
    config.model.update(case["model"])
    config.model.width *= case["sizes"]["width"]
    config.data.crop_s = case["sizes"]["crop_s"]
    config.train.batch_size = batch_size
    config.update_from_flattened_dict(case["changes"])
    return config


def teaching(config: ConfigDict, mesh: Mesh) -> Teaching:
    """AemResNet with fresh weights, where the config gives a teacher a part."""
    if not config.distill.teacher_weight:
        return Teaching()
    width = min(1.0, config.model.width)
    network = models.create(
        "aemresnet", num_classes=527, width=width, dtype=config.model.dtype
    )
    make = jax.jit(network.init, out_shardings=sharding.shardings(mesh)[0])
    weights = make(jax.random.key(0), jnp.zeros((1, SAMPLE_RATE)))
    return Teaching(Distillation(True, network), weights)


def noise(config: ConfigDict) -> dict[str, np.ndarray]:
    """A batch of noise with a label or so for each clip."""
    rows, classes = config.train.batch_size, config.model.num_classes
    shape = (rows, round(config.data.crop_s * SAMPLE_RATE))
    rng = np.random.default_rng(0)
    return {
        "audio": rng.integers(-9000, 9000, shape, np.int16),
        "mean": np.zeros(rows, np.float32),
        "std": np.full(rows, 0.16, np.float32),
        "labels": (rng.random((rows, classes)) < 2 / classes).astype(np.float32),
    }


if __name__ == "__main__":
    for found in measure(json.loads(sys.argv[1])):
        print(json.dumps(found), flush=True)
