"""What a run is made of at a step: arrays alone."""

import functools
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Integer

from aemjax.models import AemNet
from aemjax.random import stream_key
from aemjax.train.sharding import shardings

PyTree = Any

INIT_SAMPLES = 16_000  # shapes of parameters do not depend on it


@flax.struct.dataclass
class TrainState:
    """The state of training.

    Attributes:
      step: int32 scalar; updates done so far.
      params: float32 parameters.
      batch_stats: float32 running statistics, global over the mesh.
      opt_state: the optimiser's.
      ema: exponential moving average of `params`; None where it is off.
      masks: of pruned parameters, as `masks.apply_masks` takes them; None: of none.
    """

    step: PyTree
    params: PyTree
    batch_stats: PyTree
    opt_state: optax.OptState
    ema: PyTree = None
    masks: PyTree = None

    @property
    def weights(self) -> dict[str, PyTree]:
        """What inference needs: {"params", "batch_stats"}."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def averaged(self) -> dict[str, PyTree]:
        """The same with the averaged parameters.

        The statistics are the running ones: their own average would remember steps whose
        parameters count for little (measured in docs/recipes.md).
        """
        return {"params": self.ema, "batch_stats": self.batch_stats}


def initial_state(
    seed: int | Integer[Array, ""],
    *,
    model: AemNet,
    tx: optax.GradientTransformation,
    ema: bool = False,
) -> TrainState:
    """The state at step 0."""
    variables = model.init(
        stream_key(seed, "init", 0), jnp.zeros((1, INIT_SAMPLES)), train=False
    )
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=tx.init(variables["params"]),
    )
    return with_ema(state) if ema else state


def jit_initial_state(mesh: Mesh, **static) -> Callable[[int], TrainState]:
    """`initial_state` on the devices that will hold it; compiled once for all seeds."""
    replicated, _ = shardings(mesh)
    init = jax.jit(
        functools.partial(initial_state, **static),
        out_shardings=replicated,
        # It runs seldom: most of an optimised build's time would go into random numbers.
        compiler_options={"xla_backend_optimization_level": 0},
    )
    return lambda seed: init(np.asarray(seed, np.uint32))


def with_ema(state: TrainState) -> TrainState:
    """The state with an average that begins where its parameters are."""
    return state.replace(ema=jax.tree.map(jnp.copy, state.params))
