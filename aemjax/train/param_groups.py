"""Which parameters train at which rate, and from when on."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax

from aemjax.models import AemNet, stages

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Group:
    """Parameters that train alike.

    Attributes:
      patterns: regular expressions that match whole parameter paths
        ("backbone/.*").
      lr_fraction: of the schedule's learning rate; 0 freezes.
      start_step: updates before which they are frozen.
      weight_decay: None: the optimiser's.
    """

    patterns: tuple[str, ...]
    lr_fraction: int | float = 1.0
    start_step: int = 0
    weight_decay: int | float | None = None

    def __post_init__(self) -> None:
        for name in ("lr_fraction", "start_step", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} of a group is {value}, expected 0 or more")

    def frozen_at(self, step: int) -> bool:
        return self.lr_fraction == 0 or step < self.start_step


REST = ".*"  # the pattern of what is in no other group
EVERYTHING = {"all": Group((REST,))}


def labels(params: PyTree, groups: Mapping[str, Group]) -> PyTree:
    """Names the group of every parameter; ".*" takes what matches no other pattern.

    The order of groups is of no matter: a `ConfigDict` sorts them by name.

    Raises:
      ValueError: if a parameter matches no group or several, or a pattern no parameter.
    """
    used = set()
    pairs = [(group, x) for group, about in groups.items() for x in about.patterns]
    rest = [pair for pair in pairs if pair[1] == REST]

    def label(path, _):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        own = [
            pair for pair in pairs if pair[1] != REST and re.fullmatch(pair[1], name)
        ]
        if len(several := dict.fromkeys(group for group, _ in own)) > 1:
            raise ValueError(
                f"{name!r} is of the groups {list(several)}, expected one: mend their "
                f"patterns; {REST!r} alone takes what no other has"
            )
        own = own or rest[:1]
        if not own:
            raise ValueError(f"no group matches {name!r}; groups: {dict(groups)}")
        used.update(own)
        return own[0][0]

    found = jax.tree_util.tree_map_with_path(label, params)
    if unused := sorted(pattern for _, pattern in set(pairs) - used):
        raise ValueError(
            f"patterns {unused} match no parameter, or none that another group has not; "
            f"there are {_paths(params)}"
        )
    return found


def of_fine_tuning(
    model: AemNet,
    params: PyTree,
    *,
    total_steps: int,
    lr_fraction: int | float = 1.0,
    layer_decay: int | float = 1.0,
    unfreeze_fraction: int | float = 0.0,
    groups: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Group]:
    """Groups for fine-tuning: the embedder at a share of the head's rate.

    Args:
      params: the model's, or their shapes.
      lr_fraction: that share (Galindo-Meza 2021, 6.4).
      layer_decay: the embedder's last stage has `lr_fraction`, each one before it the rate
        of the next times this (Howard & Ruder, ACL 2018, 3.2, with 1/2.6).
      unfreeze_fraction: share of the run after which the next stage, from the head down,
        begins to train (ibid., 3.3, an epoch for each); 0: all at once. Each beginning
        costs a compiled step more.
      groups: {name: {"patterns", "lr_fraction", "start_fraction", "weight_decay"}} instead of
        all that; what is left out is 1, 0 and the optimiser's.

    Raises:
      ValueError: on a value out of range, `groups` beside the others, or a group that
        would not begin before the run ends.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay is {layer_decay}, expected 0 < layer_decay <= 1")
    if not 0 <= unfreeze_fraction < 1:
        raise ValueError(
            f"unfreeze_fraction is {unfreeze_fraction}, expected "
            "0 <= unfreeze_fraction < 1"
        )
    if groups:
        if (lr_fraction, layer_decay, unfreeze_fraction) != (1, 1, 0):
            raise ValueError(
                "optimizer.groups names a rate for each group; set lr_fraction and "
                "layer_decay to 1, unfreeze_fraction to 0"
            )
        return _checked(
            {name: _own(name, dict(x), total_steps) for name, x in groups.items()},
            total_steps,
        )
    paths = _paths(params)
    found = {
        name: pattern
        for name, pattern in stages(model).items()
        if any(re.fullmatch(pattern, path) for path in paths)
    }
    head = {"head": Group((found.pop("head"),))}
    if layer_decay == 1 and not unfreeze_fraction:
        return {"embedder": Group(tuple(found.values()), lr_fraction)} | head
    last = len(found) - 1
    embedder = {
        name: Group(
            (pattern,),
            lr_fraction * layer_decay ** (last - place),
            round((last - place + 1) * unfreeze_fraction * total_steps),
        )
        for place, (name, pattern) in enumerate(found.items())
    }
    return _checked(embedder | head, total_steps)


def _checked(groups: dict[str, Group], total_steps: int) -> dict[str, Group]:
    for name, group in groups.items():
        if group.lr_fraction and group.start_step >= total_steps:
            raise ValueError(
                f"{name} would begin to train at step {group.start_step} of "
                f"{total_steps}; lower unfreeze_fraction or its start_fraction"
            )
    return groups


def _own(name: str, options: dict, total_steps: int) -> Group:
    known = ("patterns", "lr_fraction", "start_fraction", "weight_decay")
    if (unknown := set(options) - set(known)) or not options.get("patterns"):
        raise ValueError(
            f"optimizer.groups.{name} has {sorted(options)}, expected patterns and any "
            f"of {list(known[1:])}"
            + (f"; unknown: {sorted(unknown)}" if unknown else "")
        )
    start = options.pop("start_fraction", 0.0)
    if not 0 <= start < 1:
        raise ValueError(
            f"optimizer.groups.{name}.start_fraction is {start}, expected 0 to 1"
        )
    if isinstance(patterns := options.pop("patterns"), str):
        patterns = (patterns,)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"optimizer.groups.{name}: {pattern!r} is no regular expression: {error}"
            ) from error
    return Group(tuple(patterns), start_step=round(start * total_steps), **options)


def frozen_stages(
    model: AemNet, params: PyTree, groups: Mapping[str, Group], step: int
) -> tuple[str, ...]:
    """The stages of which nothing trains at a step: their statistics stay, too."""
    group_of = labels(params, groups)
    paths = zip(_paths(params), jax.tree.leaves(group_of), strict=True)
    frozen = {path: groups[group].frozen_at(step) for path, group in paths}

    def all_frozen(pattern: str) -> bool:
        own = [state for path, state in frozen.items() if re.fullmatch(pattern, path)]
        return bool(own) and all(own)

    return tuple(name for name, pattern in stages(model).items() if all_frozen(pattern))


def phases(
    model: AemNet, params: PyTree, groups: Mapping[str, Group]
) -> list[tuple[int, AemNet]]:
    """(first step, the model as it is frozen from there on), in the order of time."""
    starts = sorted({0, *(about.start_step for about in groups.values())})
    found = []
    for start in starts:
        frozen = {*model.frozen, *frozen_stages(model, params, groups, start)}
        phase = model.clone(frozen=tuple(sorted(frozen)))
        if not found or phase.frozen != found[-1][1].frozen:
            found.append((start, phase))
    return found


def table(
    params: PyTree,
    groups: Mapping[str, Group],
    *,
    learning_rate: int | float,
    weight_decay: int | float,
) -> str:
    """A row per group: parameters, its share of the peak rate, decay, first step."""
    sizes = dict.fromkeys(groups, 0)
    group_of = jax.tree.leaves(labels(params, groups))
    for leaf, group in zip(jax.tree.leaves(params), group_of, strict=True):
        sizes[group] += leaf.size
    lines = [
        f"{'group':<20}{'parameters':>12}{'peak rate':>16}{'weight decay':>14}"
        f"{'from step':>11}"
    ]
    for group, about in groups.items():
        decay = weight_decay if about.weight_decay is None else about.weight_decay
        rate = about.lr_fraction * learning_rate
        lines.append(
            f"{group:<20}{sizes[group]:>12,}"
            + (f"{rate:>16.3g}{decay:>14.3g}" if rate else f"{'frozen':>16}{'':>14}")
            + f"{about.start_step:>11}"
        )
    return "\n".join(lines)


def _paths(params: PyTree) -> list[str]:
    return [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
