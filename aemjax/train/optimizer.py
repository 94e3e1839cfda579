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


def schedule(name: str, *, peak: float, total_steps: int) -> optax.Schedule:
    """Step -> learning rate.

    Raises:
      ValueError: on an unknown name.
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; known: {sorted(SCHEDULES)}")
    return SCHEDULES[name](peak, total_steps)


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


OPTIMIZERS = {"adam": adam}


def create(
    name: str,
    learning_rate: optax.Schedule,
    *,
    weight_decay: float,
    groups: Mapping[str, Group] | None = None,
) -> optax.GradientTransformation:
    """The optimiser, one instance per group.

    Weight decay acts inside each group: outside, it would move frozen parameters.

    Args:
      learning_rate: that of a group with fraction 1.
      groups: by name; None: one group of everything.

    Raises:
      ValueError: on an unknown name or a negative fraction.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; known: {sorted(OPTIMIZERS)}")
    groups = groups or {"all": Group((".*",))}
    for group, about in groups.items():
        if not about.lr_fraction >= 0:
            raise ValueError(
                f"lr_fraction of {group!r} is {about.lr_fraction}, expected >= 0"
            )

    def transform(fraction: float):
        if fraction == 0:
            return optax.set_to_zero()
        return OPTIMIZERS[name](
            lambda step: fraction * learning_rate(step), weight_decay
        )

    return optax.multi_transform(
        {group: transform(about.lr_fraction) for group, about in groups.items()},
        lambda params: group_labels(params, groups),
    )


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
