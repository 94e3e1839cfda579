"""How a model is trained: optimiser, augmentation, loss and the compiled step."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from aemjax.audio.augment import Augment
from aemjax.models import AemNet, frozen_patterns, summarize
from aemjax.models.numerics import FOLDED
from aemjax.train import losses, optimizer, param_groups, side_by_side
from aemjax.train.distill import Distillation
from aemjax.train.remat import POLICIES
from aemjax.train.state import TrainState, initial_state, jit_initial_state
from aemjax.train.step import TrainStep, jit_train_step


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A compiled way to train for so many steps, from a fresh state on.

    Attributes:
      initial_state: seed -> the state of a run at step 0.
      state_shapes: the same without its numbers.
      train_step: (state, global batch) -> (state, scalars).
      total_steps: of the schedule.
      rates: updates done -> {"lr/GROUP": the learning rate of the last of them}.
      flops_per_clip: floating-point operations of training on a clip, a multiply-add
        counted as two, the gradient as twice the forward pass, and none of what is
        frozen to the end.
    """

    initial_state: Callable[[Any], TrainState]
    state_shapes: TrainState
    train_step: TrainStep
    total_steps: int
    rates: Callable[[int], dict[str, float]]
    flops_per_clip: int

    def create_state(self) -> TrainState:
        """The state at step 0; of several seeds that of runs side by side."""
        seed = self.train_step.seed
        if not seed.ndim:
            return self.initial_state(seed)
        return side_by_side.stack([self.initial_state(one) for one in seed])

    def with_seed(self, seed: int | Sequence[int]) -> "Recipe":
        """The same with another seed; several: for runs `side_by_side`."""
        step = dataclasses.replace(self.train_step, seed=np.asarray(seed, np.uint32))
        return dataclasses.replace(self, train_step=step)


def create(
    model: AemNet,
    mesh: Mesh,
    *,
    seed: int,
    total_steps: int,
    num_classes: int,
    multi_label: bool,
    crop_samples: int,
    optimizer_options: Mapping[str, Any],
    schedule_options: Mapping[str, Any],
    augment_options: Mapping[str, Any],
    loss_options: Mapping[str, Any],
    groups: Mapping[str, param_groups.Group] = param_groups.EVERYTHING,
    microbatches: int = 1,
    remat: str = "none",
    ema_decay: int | float = 0.0,
    distillation: Distillation | None = None,
    teacher=None,
) -> Recipe:
    """Builds the recipe.

    Args:
      seed: of the start and of every draw.
      crop_samples: length of the clips trained on.
      optimizer_options: "name", "learning_rate", "weight_decay", "clip_norm".
      schedule_options: "name", "warmup_fraction".
      augment_options: fields of `Augment`, with "mixup_start_fraction" (of the steps)
        in place of "mixup_start_step".
      loss_options: "name" and what that loss takes.
      groups: of parameters, by name.
      microbatches, remat, distillation, teacher: of `train_step`.
      ema_decay: of the averaged weights; 0: none.

    Raises:
      ValueError: on an option that is unknown or does not fit.
    """
    if remat not in POLICIES:
        raise ValueError(f"unknown remat {remat!r}; known: {list(POLICIES)}")
    if model.numerics == FOLDED:
        raise ValueError(
            f"model.numerics is {FOLDED!r}, which is for exports; train in 'float', or "
            "in 'int8'"
        )
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}, expected from 0 to {2**32 - 1}")
    if not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay is {ema_decay}, expected 0 <= ema_decay < 1")
    optimizer_options, schedule_options, augment_options, loss_options = map(
        dict, (optimizer_options, schedule_options, augment_options, loss_options)
    )
    learning_rate = optimizer.schedule(
        schedule_options.pop("name"),
        peak=optimizer_options.pop("learning_rate"),
        total_steps=total_steps,
        **schedule_options,
    )
    tx = optimizer.create(
        optimizer_options.pop("name"), learning_rate, groups=groups, **optimizer_options
    )
    fraction = augment_options.pop("mixup_start_fraction")
    augment = Augment(**augment_options, mixup_start_step=round(fraction * total_steps))
    loss_fn = losses.get(
        loss_options.pop("name"), multi_label=multi_label, **loss_options
    )
    scores = jax.ShapeDtypeStruct((1, num_classes), jnp.float32)
    jax.eval_shape(loss_fn, scores, scores)  # checks its options

    def rates(step: int) -> dict[str, float]:
        found = optimizer.learning_rates(learning_rate, groups, step - 1)
        return {f"lr/{group}": rate for group, rate in found.items()}

    start = {"model": model, "tx": tx, "ema": ema_decay > 0}
    shapes = jax.eval_shape(lambda: initial_state(0, **start))
    phases = param_groups.phases(model, shapes.params, groups)
    flops = training_flops(phases[-1][1], n_samples=crop_samples)
    if distillation is not None and distillation.teacher is not None:
        taught_by = summarize(distillation.teacher, n_samples=crop_samples)
        flops += 2 * taught_by.total_macs
    return Recipe(
        initial_state=jit_initial_state(mesh, **start),
        state_shapes=shapes,
        train_step=jit_train_step(
            mesh,
            teacher=teacher,
            phases=phases,
            tx=tx,
            augment=augment,
            loss_fn=loss_fn,
            seed=seed,
            microbatches=microbatches,
            remat=remat,
            ema_decay=ema_decay,
            distillation=distillation,
        ),
        total_steps=total_steps,
        rates=rates,
        flops_per_clip=flops,
    )


def training_flops(model: AemNet, *, n_samples: int) -> int:
    """Operations of a forward pass and, of what is not frozen, of its gradient."""
    frozen = frozen_patterns(model)

    def of(block: str) -> int:
        stays = any(re.fullmatch(pattern, f"{block}/") for pattern in frozen)
        return 2 if stays else 6

    macs = summarize(model, n_samples=n_samples).macs
    return sum(of(block) * count for block, count in macs.items())
