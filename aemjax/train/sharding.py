"""One mesh axis, `data`: parameters on every device, examples split over them."""

import math

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def data_mesh(devices=None) -> Mesh:
    """All devices (or those given) along one axis, `data`."""
    return Mesh(np.asarray(devices or jax.devices()), ("data",))


def platform(mesh: Mesh) -> str:
    """Of its devices, such as "cpu"."""
    return mesh.devices.flat[0].platform


def shardings(mesh: Mesh) -> tuple[NamedSharding, NamedSharding]:
    """(replicated, split over examples)."""
    return NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))


def global_batch(local: dict, split: NamedSharding) -> dict:
    """This process' rows -> one global array per key."""
    return {
        key: jax.make_array_from_process_local_data(split, value)
        for key, value in local.items()
    }


def sum_over_processes(values: dict[str, int]) -> dict[str, int]:
    """The sums of what each process counted; call it on every process."""
    if jax.process_count() == 1:
        return values
    counts = multihost_utils.process_allgather(np.array(list(values.values())))
    return dict(zip(values, counts.sum(axis=0).tolist(), strict=True))


def check_batch_size(
    batch_size: int, mesh: Mesh, *, paired: bool = False, microbatches: int = 1
) -> None:
    """Refuses a global batch that the devices cannot share equally.

    Args:
      paired: rows go in pairs (mixup), so each device needs an even number.
      microbatches: equal parts, each shared by all devices.

    Raises:
      ValueError: naming the batch and the number of devices.
    """
    if microbatches < 1:
        raise ValueError(f"microbatches is {microbatches}, expected at least 1")
    unit = mesh.size * math.lcm(2 if paired else 1, microbatches)
    if batch_size < 1 or batch_size % unit:
        why = f"{mesh.size} devices" + (" times the 2 rows of a mixup pair" * paired)
        why += f" in {microbatches} microbatches" * (microbatches > 1)
        raise ValueError(
            f"batch_size {batch_size} is not a multiple of {unit} ({why}); choose "
            f"{max(unit, batch_size // unit * unit)}"
        )
