"""One mesh axis, `data`: parameters on every device, examples split over them."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def data_mesh(devices=None) -> Mesh:
    """All devices (or those given) along one axis, `data`."""
    return Mesh(np.asarray(devices or jax.devices()), ("data",))


def shardings(mesh: Mesh) -> tuple[NamedSharding, NamedSharding]:
    """(replicated, split over examples)."""
    return NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))


def global_batch(local: dict, split: NamedSharding) -> dict:
    """This process' rows -> one global array per key."""
    return {
        key: jax.make_array_from_process_local_data(split, value)
        for key, value in local.items()
    }


def check_batch_size(batch_size: int, mesh: Mesh, *, paired: bool = False) -> None:
    """Refuses a global batch that the devices cannot share equally.

    Args:
      paired: rows go in pairs (mixup), so each device needs an even number.

    Raises:
      ValueError: naming the batch and the number of devices.
    """
    unit = mesh.size * (2 if paired else 1)
    if batch_size < 1 or batch_size % unit:
        why = f"{mesh.size} devices" + (" times the 2 rows of a mixup pair" * paired)
        raise ValueError(
            f"batch_size {batch_size} is not a multiple of {unit} ({why}); choose "
            f"{max(unit, batch_size // unit * unit)}"
        )
