"""Schedules, and an optimiser with a learning rate per block."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax

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


@dataclasses.dataclass(frozen=True)
class Group:
    """Parameters that train alike.

    Attributes:
      patterns: regular expressions that match whole parameter paths
        ("backbone/.*").
      lr_fraction: of the schedule's learning rate; 0 freezes.
    """

    patterns: tuple[str, ...]
    lr_fraction: float = 1.0


def group_labels(params: PyTree, groups: Mapping[str, Group]) -> PyTree:
    """Names the group of every parameter; the first full match wins.

    Raises:
      ValueError: if a parameter matches no group, or a pattern no parameter.
    """
    used = set()

    def label(path, _):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        for group, about in groups.items():
            for pattern in about.patterns:
                if re.fullmatch(pattern, name):
                    used.add(pattern)
                    return group
        raise ValueError(f"no group matches {name!r}; groups: {dict(groups)}")

    labels = jax.tree_util.tree_map_with_path(label, params)
    patterns = {pattern for about in groups.values() for pattern in about.patterns}
    if unused := sorted(patterns - used):
        raise ValueError(f"patterns {unused} match no parameter")
    return labels


def adam(learning_rate: optax.Schedule, weight_decay: float):
    """Adam with classic L2 decay: added to the gradient before the moments."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.adam(learning_rate)
    )


def adamw(learning_rate: optax.Schedule, weight_decay: float):
    """Adam with decoupled decay (Loshchilov & Hutter, ICLR 2019), of kernels alone."""
    return optax.adamw(learning_rate, weight_decay=weight_decay, mask=_kernels)


def lamb(learning_rate: optax.Schedule, weight_decay: float):
    """Adam with a trust ratio per array, for large batches (You et al., ICLR 2020).

    Weight decay is that of kernels alone.
    """
    return optax.lamb(learning_rate, weight_decay=weight_decay, mask=_kernels)


def _kernels(params: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x.ndim > 1, params)


OPTIMIZERS = {"adam": adam, "adamw": adamw, "lamb": lamb}
EVERYTHING = {"all": Group((".*",))}


def create(
    name: str,
    learning_rate: optax.Schedule,
    *,
    weight_decay: float,
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
      ValueError: on an unknown name, a negative fraction or norm.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; known: {sorted(OPTIMIZERS)}")
    if not clip_norm >= 0:
        raise ValueError(f"clip_norm is {clip_norm}, expected >= 0")
    for group, about in groups.items():
        if not about.lr_fraction >= 0:
            raise ValueError(
                f"lr_fraction of {group!r} is {about.lr_fraction}, expected >= 0"
            )

    def by_group(trained: Callable):
        return optax.multi_transform(
            {
                group: trained(about.lr_fraction)
                if about.lr_fraction
                else optax.set_to_zero()
                for group, about in groups.items()
            },
            lambda params: group_labels(params, groups),
        )

    def optimize(fraction: float):
        return OPTIMIZERS[name](
            lambda step: fraction * learning_rate(step), weight_decay
        )

    if not clip_norm:
        return by_group(optimize)
    return optax.chain(
        by_group(lambda _: optax.identity()),  # what is frozen has no part in the norm
        optax.clip_by_global_norm(clip_norm),
        by_group(optimize),
    )


def learning_rates(
    learning_rate: optax.Schedule, groups: Mapping[str, Group], step: int
) -> dict[str, float]:
    """The rate of each group at the update that follows `step` updates."""
    rate = float(learning_rate(step))
    return {group: about.lr_fraction * rate for group, about in groups.items()}


def embedder_groups(blocks: Sequence[str], lr_fraction: float) -> dict[str, Group]:
    """Groups for fine-tuning: the embedder at a fraction of the head's rate.

    Args:
      blocks: the top-level names that the model's parameters have.
      lr_fraction: of everything but the head.
    """
    embedder = tuple(f"{block}/.*" for block in blocks if block != "head")
    return {
        "embedder": Group(embedder, lr_fraction),
        "head": Group(("head/.*",)),
    }
