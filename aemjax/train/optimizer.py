"""Schedules, and an optimiser with a learning rate per block."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from aemjax.train.param_groups import EVERYTHING, Group, labels

PyTree = Any

SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda peak, steps: optax.constant_schedule(peak),
    "cosine": lambda peak, steps: optax.cosine_decay_schedule(peak, steps),
}


def schedule(
    name: str,
    *,
    peak: float,
    total_steps: int,
    warmup_fraction: int | float = 0.0,
) -> optax.Schedule:
    """Step -> learning rate.

    Args:
      peak: the highest rate.
      warmup_fraction: share of the steps in which the rate rises in equal parts to
        the peak, before the schedule of this name takes the rest of them.

    Raises:
      ValueError: on an unknown name, or a fraction outside [0, 1).
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; known: {sorted(SCHEDULES)}")
    if not 0 <= warmup_fraction < 1:
        raise ValueError(
            f"warmup_fraction is {warmup_fraction}, expected 0 <= warmup_fraction < 1"
        )
    warmup = round(warmup_fraction * total_steps)
    decay = SCHEDULES[name](peak, max(1, total_steps - warmup))
    if not warmup:
        return decay
    rise = optax.linear_schedule(peak / warmup, peak, warmup - 1)
    return optax.join_schedules([rise, decay], [warmup])


def adam(learning_rate: optax.Schedule, weight_decay: int | float):
    """Adam with classic L2 decay: added to the gradient before the moments."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.adam(learning_rate)
    )


def adamw(learning_rate: optax.Schedule, weight_decay: int | float):
    """Adam with decoupled decay (Loshchilov & Hutter, ICLR 2019), of kernels alone."""
    return optax.adamw(learning_rate, weight_decay=weight_decay, mask=_kernels)


def lamb(learning_rate: optax.Schedule, weight_decay: int | float):
    """Adam with a trust ratio per array, for large batches (You et al., ICLR 2020).

    Weight decay is that of kernels alone.
    """
    return optax.lamb(learning_rate, weight_decay=weight_decay, mask=_kernels)


def _kernels(params: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x.ndim > 1, params)


OPTIMIZERS = {"adam": adam, "adamw": adamw, "lamb": lamb}


def create(
    name: str,
    learning_rate: optax.Schedule,
    *,
    weight_decay: int | float,
    clip_norm: int | float = 0.0,
    groups: Mapping[str, Group] = EVERYTHING,
) -> optax.GradientTransformation:
    """The optimiser, one instance per group.

    Weight decay acts inside each group: outside, it would move frozen parameters.

    Args:
      learning_rate: that of a group with fraction 1.
      clip_norm: largest norm of the gradient of all that trains; 0: as it comes.
      groups: by name.

    Raises:
      ValueError: on an unknown name, or a negative norm.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; known: {sorted(OPTIMIZERS)}")
    if not clip_norm >= 0:
        raise ValueError(f"clip_norm is {clip_norm}, expected >= 0")

    def by_group(make: Callable[[Group], optax.GradientTransformation]):
        return optax.multi_transform(
            {group: _from_start(make, about) for group, about in groups.items()},
            lambda params: labels(params, groups),
        )

    def optimize(group: Group):
        own = group.weight_decay
        return OPTIMIZERS[name](
            # Each group counts its own updates; the schedule is that of the run.
            lambda count: group.lr_fraction * learning_rate(count + group.start_step),
            weight_decay if own is None else own,
        )

    if not clip_norm:
        return by_group(optimize)
    return optax.chain(
        by_group(lambda _: optax.identity()),  # what is frozen has no part in the norm
        optax.clip_by_global_norm(clip_norm),
        by_group(optimize),
    )


def _from_start(make: Callable, group: Group) -> optax.GradientTransformation:
    if not group.lr_fraction:
        return optax.set_to_zero()
    if not group.start_step:
        return make(group)
    return optax.transforms.conditionally_mask(
        make(group), lambda step: step >= group.start_step
    )


def learning_rates(
    learning_rate: optax.Schedule, groups: Mapping[str, Group], step: int
) -> dict[str, float]:
    """The rate of each group at the update that follows `step` updates."""
    rate = float(learning_rate(step))
    return {
        group: 0.0 if about.frozen_at(step) else about.lr_fraction * rate
        for group, about in groups.items()
    }
