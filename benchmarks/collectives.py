"""What the devices of a mesh send each other in a step, counted in the compiled HLO.

Of a step that splits the examples and nothing else, that is the gradient (a float32 for
each parameter), the statistics of BatchNorm (sum and sum of squares of each channel, and
in the gradient one more: the other two are gradients of parameters) and the loss.
"""

import json
import os
import subprocess
import sys

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax.train import sharding
from configs.pretrain import aemresnet_audioset
from pretrain.compile_only import step_cost, step_recipe
from pretrain.train import Teaching

DEVICES = (2, 4, 8, 16)
MODELS = ("aemnet_dw", "aemresnet")


def run(*, repeats: int) -> list[dict]:
    """Prints and returns a row for each model and number of devices."""
    del repeats  # nothing is timed
    rows = []
    for model in MODELS:
        for devices in DEVICES:
            row = {"model": model} | _measure_elsewhere(model, devices)
            rows.append(row)
            print(
                f"{model:<10} {devices:>2} devices: {row['collectives']}, "
                f"{row['bytes']:,} bytes; expected {row['expected_bytes']:,}"
            )
    return rows


def _measure_elsewhere(model: str, devices: int) -> dict:
    """The number of simulated devices is fixed when JAX starts."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.collectives", model],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return json.loads(output)


def small(model: str) -> ConfigDict:
    """Checkpoint #1's config with a model at an eighth of its width, on short clips."""
    config = aemresnet_audioset.get_config()
    config.model.update(name=model, width=0.125)
    config.data.crop_s = 0.2
    config.train.batch_size = 64
    return config


def measure(config: ConfigDict, mesh: Mesh, teaching: Teaching | None = None) -> dict:
    """The row of a config on a mesh.

    Args:
      teaching: of `step_recipe`.
    """
    cost = step_cost(config, mesh, teaching)
    state = step_recipe(config, mesh, teaching).state_shapes
    return {
        "devices": mesh.size,
        "collectives": {kind: count for kind, (count, _) in cost.collectives.items()},
        "bytes": sum(size for _, size in cost.collectives.values()),
        "expected_bytes": expected_bytes(state),
    }


def expected_bytes(state) -> int:
    """Of the gradient, of BatchNorm's statistics and of the loss."""
    parameters = sum(x.size for x in jax.tree.leaves(state.params))
    statistics = sum(x.size for x in jax.tree.leaves(state.batch_stats))
    return 4 * (parameters + statistics + statistics // 2 + 1)


if __name__ == "__main__":
    print(json.dumps(measure(small(sys.argv[1]), sharding.data_mesh())))
