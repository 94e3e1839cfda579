"""One update, one evaluation: pure functions, jitted over a mesh."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Integer

from aemjax.audio.augment import Augment, standardize
from aemjax.models import AemNet, stop_frozen
from aemjax.models.compiling import jit_network
from aemjax.random import stream_key
from aemjax.train import side_by_side
from aemjax.train.distill import Distillation
from aemjax.train.masks import apply_masks
from aemjax.train.remat import rematerialize
from aemjax.train.sharding import platform, shardings
from aemjax.train.state import TrainState

Batch = dict[str, jax.Array]
Scalars = dict[str, jax.Array]
PyTree = Any

TARGETS = ("labels", "teacher", "taught")


def train_step(
    state: TrainState,
    batch: Batch,
    teacher: PyTree = None,
    *,
    model: AemNet,
    tx: optax.GradientTransformation,
    augment: Augment,
    loss_fn: Callable,
    seed: int | Integer[Array, ""],
    distillation: Distillation | None = None,
    microbatches: int = 1,
    remat: str = "none",
    ema_decay: int | float = 0.0,
) -> tuple[TrainState, Scalars]:
    """One update; returns (state, scalars).

    Args:
      batch: {"audio": int16 "b t", "mean": "b", "std": "b", "labels": "b k"}; with a
        stored teacher also {"teacher": "b k", "taught": "b"}.
      teacher: weights of the network that `distillation` names.
      loss_fn: from `losses`.
      microbatches: equal parts of the batch that are gone through one after the other,
        their gradients averaged: memory of one part. BatchNorm sees one part at a time.
      remat: of `remat.POLICIES`: which activations are kept, not computed again.
      ema_decay: of the averaged parameters, where the state carries them.
    """
    step = state.step
    audio = standardize(batch["audio"], batch["mean"], batch["std"])
    targets = {key: batch[key] for key in TARGETS if key in batch}
    audio, targets = augment(audio, targets, seed=seed, step=step)

    def compute_loss(params, batch_stats, audio, targets, number):
        def key(stream):
            return jax.random.fold_in(stream_key(seed, stream, step), number)

        (logits, _), new = model.apply(
            {"params": stop_frozen(model, params), "batch_stats": batch_stats},
            audio,
            train=True,
            alter_features=augment.masks(key("mask")),
            rngs={"dropout": key("dropout")},
            mutable=["batch_stats"],
        )
        if distillation is None:
            loss = loss_fn(logits, targets["labels"])
        else:
            if distillation.teacher is not None:
                outputs = distillation.teach(teacher, audio)
                targets = targets | {"teacher": jax.lax.stop_gradient(outputs)}
            loss = distillation.loss(logits, targets, loss_fn)
        return loss.mean(), new["batch_stats"]

    grad_fn = jax.value_and_grad(rematerialize(compute_loss, remat), has_aux=True)

    def accumulate(carry, part):
        grads, batch_stats = carry
        (loss, batch_stats), part_grads = grad_fn(state.params, batch_stats, *part)
        grads = jax.tree.map(lambda x, y: x + y / microbatches, grads, part_grads)
        return (grads, batch_stats), loss

    if microbatches == 1:
        (loss, batch_stats), grads = grad_fn(
            state.params, state.batch_stats, audio, targets, 0
        )
    else:
        zeros = jax.tree.map(jnp.zeros_like, state.params)
        parts = split_rows((audio, targets), microbatches)
        (grads, batch_stats), loss = jax.lax.scan(
            accumulate, (zeros, state.batch_stats), (*parts, jnp.arange(microbatches))
        )
        loss = loss.mean()
    grads = apply_masks(grads, state.masks)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = apply_masks(optax.apply_updates(state.params, updates), state.masks)
    state = state.replace(
        step=step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state
    )
    if state.ema is not None:
        ema = optax.incremental_update(params, state.ema, 1 - ema_decay)
        state = state.replace(ema=ema)
    return state, {"loss": loss, "grad_norm": optax.tree.norm(grads)}


def phased_train_step(
    state: TrainState,
    batch: Batch,
    seed: Integer[Array, ""],
    teacher: PyTree = None,
    *,
    phases: Sequence[tuple[int, AemNet]],
    **static,
) -> tuple[TrainState, Scalars]:
    """`train_step` with the model of the phase that the state is in.

    Args:
      phases: (first step, model): the same network, frozen in other parts.
    """
    steps = [
        functools.partial(train_step, model=model, seed=seed, **static)
        for _, model in phases
    ]
    if len(steps) == 1:
        return steps[0](state, batch, teacher)
    starts = jnp.asarray([start for start, _ in phases])
    phase = jnp.searchsorted(starts, state.step, side="right") - 1
    return jax.lax.switch(phase, steps, state, batch, teacher)


def split_rows(tree: PyTree, parts: int) -> PyTree:
    """Arrays "b ..." -> "parts b/parts ...", every part with rows of every device."""

    def split(x):
        return x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(split, tree)


def eval_step(params, batch_stats, batch: Batch, *, model: AemNet) -> Batch:
    """{"logits": "b k", "embedding": "b d"} of whole clips padded to a common length.

    Args:
      batch: {"audio": int16 "b t", "lengths": "b", "mean": "b", "std": "b"}.
    """
    audio = standardize(batch["audio"], batch["mean"], batch["std"])
    logits, aux = model.apply(
        {"params": params, "batch_stats": batch_stats},
        audio,
        batch["lengths"],
        train=False,
    )
    outputs = {"logits": logits, "embedding": aux["embedding"]}
    return {key: value.astype(jnp.float32) for key, value in outputs.items()}


def jit_train_step(
    mesh: Mesh, *, seed: int, teacher: PyTree = None, **static
) -> "TrainStep":
    """`phased_train_step` over a mesh; it is donated the state: never touch that again.

    Args:
      seed: of every draw.
      teacher: weights on every device; like the seed an argument of the compiled step,
        not a constant.
    """
    replicated, split = shardings(mesh)
    one = functools.partial(phased_train_step, **static)

    def train_step(state, batch, seed, teacher):
        step = side_by_side.all_at_once(one) if seed.ndim else one
        return step(state, batch, seed, teacher)

    compiled = jit_network(
        train_step,
        platform(mesh),
        in_shardings=(replicated, split, replicated, replicated),
        out_shardings=replicated,
        donate_argnums=0,
    )
    return TrainStep(compiled, np.asarray(seed, np.uint32), teacher)


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """A compiled step that brings its seed and its teacher along.

    Attributes:
      compiled: (state, batch, seed, teacher) -> (state, scalars).
      seed: of every draw, uint32; several, "runs", of runs `side_by_side`.
      teacher: weights, or None.
    """

    compiled: Callable
    seed: np.ndarray
    teacher: PyTree = None

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        return self.compiled(state, batch, self.seed, self.teacher)

    def compile(self, state: TrainState, batch: dict[str, Any]) -> "TrainStep":
        """The step compiled now, for these arrays or their shapes."""
        lowered = self.compiled.lower(state, batch, self.seed, self.teacher)
        return dataclasses.replace(self, compiled=lowered.compile())


def jit_eval_step(mesh: Mesh, *, model: AemNet) -> Callable:
    """`eval_step` over a mesh."""
    replicated, split = shardings(mesh)
    return jit_network(
        functools.partial(eval_step, model=model),
        platform(mesh),
        in_shardings=(replicated, replicated, split),
        out_shardings=split,
    )
