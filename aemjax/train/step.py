"""One update, one evaluation: pure functions, jitted over a mesh."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from aemjax.audio.augment import Augment, standardize
from aemjax.models import AemNet
from aemjax.random import stream_key
from aemjax.train.sharding import shardings
from aemjax.train.state import TrainState

Batch = dict[str, jax.Array]
Scalars = dict[str, jax.Array]


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: AemNet,
    tx: optax.GradientTransformation,
    augment: Augment,
    loss_fn: Callable,
    seed: int,
    ema_decay: float = 0.0,
) -> tuple[TrainState, Scalars]:
    """One update; returns (state, scalars).

    Args:
      batch: {"audio": int16 "b t", "mean": "b", "std": "b", "labels": "b k"}.
      loss_fn: from `losses`.
      ema_decay: of the averaged parameters, where the state carries them.
    """
    audio = standardize(batch["audio"], batch["mean"], batch["std"])
    audio, labels = augment(audio, batch["labels"], seed=seed, step=state.step)

    def compute_loss(params):
        (logits, _), new = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            audio,
            train=True,
            rngs={"dropout": stream_key(seed, "dropout", state.step)},
            mutable=["batch_stats"],
        )
        return loss_fn(logits, labels).mean(), new["batch_stats"]

    grad_fn = jax.value_and_grad(compute_loss, has_aux=True)
    (loss, batch_stats), grads = grad_fn(state.params)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
        ema = optax.incremental_update(params, ema, 1 - ema_decay)
    state = state.replace(
        step=state.step + 1,
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        ema=ema,
    )
    return state, {"loss": loss, "grad_norm": optax.tree.norm(grads)}


def eval_step(params, batch_stats, batch: Batch, *, model: AemNet) -> jax.Array:
    """Logits "b k" of whole clips padded to a common length.

    Args:
      batch: {"audio": int16 "b t", "lengths": "b", "mean": "b", "std": "b"}.
    """
    audio = standardize(batch["audio"], batch["mean"], batch["std"])
    logits, _ = model.apply(
        {"params": params, "batch_stats": batch_stats},
        audio,
        batch["lengths"],
        train=False,
    )
    return logits.astype(jnp.float32)


def jit_train_step(mesh: Mesh, **static) -> Callable:
    """`train_step` over a mesh; the state is donated: never touch it after the call."""
    replicated, split = shardings(mesh)
    return jax.jit(
        functools.partial(train_step, **static),
        in_shardings=(replicated, split),
        out_shardings=replicated,
        donate_argnums=0,
    )


def jit_eval_step(mesh: Mesh, *, model: AemNet) -> Callable:
    """`eval_step` over a mesh."""
    replicated, split = shardings(mesh)
    return jax.jit(
        functools.partial(eval_step, model=model),
        in_shardings=(replicated, replicated, split),
        out_shardings=split,
    )
