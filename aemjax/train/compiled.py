"""What a compiled step costs: memory, operations, and what devices send each other."""

import collections
import dataclasses
import math
import os
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh

from aemjax.train.sharding import data_mesh

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)
# Not "-start", whose result holds the operand too.
_CALL = re.compile(rf" = (.+?) ({'|'.join(COLLECTIVES)})(?:-done)?\(")
_SHAPE = re.compile(r"\b(pred|[a-z]+\d+)\w*\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one step, on each device.

    Attributes:
      arguments_bytes: parameters, optimiser, batch.
      temporaries_bytes: activations and other working memory.
      flops: as the compiler counts them; None where it does not.
      collectives: {kind: (how many, bytes of their results)}.
    """

    arguments_bytes: int
    temporaries_bytes: int
    flops: float | None
    collectives: Mapping[str, tuple[int, int]]

    def table(self) -> str:
        """The same as text, a line each."""
        lines = [
            f"arguments    {self.arguments_bytes / 2**30:10.3f} GiB per device",
            f"temporaries  {self.temporaries_bytes / 2**30:10.3f} GiB per device",
        ]
        if self.flops is not None:
            lines.append(f"operations   {self.flops / 1e12:10.3f} TFLOP per device")
        lines += [
            f"{kind:<12} {count:10} a step, {size / 2**20:.3f} MiB"
            for kind, (count, size) in sorted(self.collectives.items())
        ]
        return "\n".join(lines)


def cost(compiled: jax.stages.Compiled) -> Cost:
    """Reads the cost off a compiled step."""
    memory = compiled.memory_analysis()
    analysis = compiled.cost_analysis() or {}
    return Cost(
        arguments_bytes=memory.argument_size_in_bytes,
        temporaries_bytes=memory.temp_size_in_bytes,
        flops=analysis.get("flops"),
        collectives=count_collectives(compiled.as_text()),
    )


def count_collectives(hlo: str) -> dict[str, tuple[int, int]]:
    """{kind: (how many, bytes of their results)} in the text of an HLO module.

    What stands in a loop counts once.
    """
    found = collections.defaultdict(lambda: (0, 0))
    for shapes, kind in _CALL.findall(hlo):
        size = sum(_bytes(*shape) for shape in _SHAPE.findall(shapes))
        count, total = found[kind]
        found[kind] = (count + 1, total + size)
    return dict(found)


def _bytes(dtype: str, sizes: str) -> int:
    bits = 8 if dtype == "pred" else int(re.search(r"\d+", dtype)[0])
    return bits * math.prod(int(size) for size in sizes.split(",") if size) // 8


def tpu_mesh(topology: str) -> Mesh:
    """A mesh of chips that are not here, to compile for.

    Args:
      topology: such as "v5e:4x4".

    Raises:
      ValueError: if `jax[tpu]` is not installed or does not know the topology.
    """
    # Else it asks the metadata server of a cloud that it is not in.
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    try:
        description = topologies.get_topology_desc(topology, platform="tpu")
    except RuntimeError as error:  # or one of JAX's, which are of this kind
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"cannot compile for TPU {topology!r} ({reason}); expected a topology such "
            "as 'v5e:4x4', and `pip install 'aemjax[tpu]'`"
        ) from error
    return data_mesh(description.devices)


def batch_shapes(
    batch_size: int, crop_samples: int, num_classes: int, *, taught: bool = False
) -> dict[str, Any]:
    """What `train_batches` gives, without its numbers.

    Args:
      taught: whether outputs of a stored teacher go along.
    """
    rows, scores = (batch_size,), (batch_size, num_classes)
    shapes = {
        "audio": jax.ShapeDtypeStruct((batch_size, crop_samples), jnp.int16),
        "mean": jax.ShapeDtypeStruct(rows, jnp.float32),
        "std": jax.ShapeDtypeStruct(rows, jnp.float32),
        "labels": jax.ShapeDtypeStruct(scores, jnp.float32),
    }
    if taught:
        shapes["teacher"] = jax.ShapeDtypeStruct(scores, jnp.float32)
        shapes["taught"] = jax.ShapeDtypeStruct(rows, jnp.float32)
    return shapes
