"""What a run is made of at a step: arrays alone."""

import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

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
    """

    step: PyTree
    params: PyTree
    batch_stats: PyTree
    opt_state: optax.OptState
    ema: PyTree = None

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
    model: AemNet, tx: optax.GradientTransformation, *, seed: int, ema: bool = False
) -> TrainState:
    """The state at step 0, as a function to be jitted or traced."""
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


def create_state(
    model: AemNet,
    tx: optax.GradientTransformation,
    *,
    seed: int,
    mesh: Mesh,
    ema: bool = False,
) -> TrainState:
    """The state at step 0, made on the devices that will hold it."""
    init = functools.partial(initial_state, model, tx, seed=seed, ema=ema)
    replicated, _ = shardings(mesh)
    # It runs once: most of an optimised build's time would go into random numbers.
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(init, out_shardings=replicated, compiler_options=options)()


def with_ema(state: TrainState) -> TrainState:
    """The state with an average that begins where its parameters are."""
    return state.replace(ema=jax.tree.map(jnp.copy, state.params))
