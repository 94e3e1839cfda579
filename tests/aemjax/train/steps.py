"""Single updates of the tiny model, and the gradients that they are made of."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aemjax import models
from aemjax.audio.augment import Augment
from aemjax.train import losses, sharding
from aemjax.train.state import jit_initial_state
from aemjax.train.step import jit_train_step, train_step

ROWS, SAMPLES, CLASSES = 16, 2400, 5

AS_IT_COMES = Augment(gain_db=0.0, noise_probability=0.0, mixup_alpha=0.0)
GRADIENT = optax.trace(0.0)  # its state is the last gradient
HASTY = {"xla_backend_optimization_level": 0}


def tiny(**options):
    options = {"width": 0.125, "dropout": 0.0} | options
    return models.create("tests.tiny:Backbone", num_classes=CLASSES, **options)


def a_batch(rows=ROWS, *, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "audio": rng.integers(-9000, 9000, (rows, SAMPLES)).astype(np.int16),
        "mean": np.full(rows, 0.01, np.float32),
        "std": np.full(rows, 0.15, np.float32),
        "labels": (rng.random((rows, CLASSES)) < 0.4).astype(np.float32),
    }


@functools.cache
def start(model=None, *, tx=GRADIENT, seed=0, ema=False):
    """The state at step 0, on the host."""
    mesh = sharding.data_mesh(jax.devices()[:1])
    state = jit_initial_state(mesh, model=model or tiny(), tx=tx, ema=ema)(seed)
    return jax.device_get(state)


OPTIONS = {
    "tx": GRADIENT,
    "augment": AS_IT_COMES,
    "loss_fn": losses.binary_cross_entropy,
    "seed": 0,
}


def update(state, batch, *, teacher=None, model=None, **options):
    """(state, scalars) after one update on one device, compiled in haste."""
    options = OPTIONS | {"model": model or tiny()} | options
    step = jax.jit(functools.partial(train_step, **options), compiler_options=HASTY)
    return jax.device_get(step(state, batch, teacher))


def update_on(devices, state, batch, *, model=None, **options):
    """The same over a mesh."""
    mesh = sharding.data_mesh(jax.devices()[:devices])
    replicated, split = sharding.shardings(mesh)
    options = OPTIONS | {"phases": [(0, model or tiny())]} | options
    step = jit_train_step(mesh, **options)
    state = jax.device_put(state, replicated)
    return jax.device_get(step(state, sharding.global_batch(batch, split)))


def gradient(state):
    """That of the last update with GRADIENT."""
    return state.opt_state.trace


@functools.partial(jax.jit, static_argnums=0)
def forward(model, params, batch_stats, batch):
    """(logits, new batch statistics) in training, without dropout and augmentation."""
    audio = batch["audio"].astype(jnp.float32) / 32_768
    audio = (audio - batch["mean"][:, None]) / batch["std"][:, None]
    weights = {"params": params, "batch_stats": batch_stats}
    rngs = {"dropout": jax.random.key(0)}
    (logits, _), new = model.apply(
        weights, audio, train=True, rngs=rngs, mutable=["batch_stats"]
    )
    return logits, new["batch_stats"]


def assert_close(found, expected, **tolerance):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, **tolerance), found, expected
    )
