"""The files of several runs that train `side_by_side`, as those of one."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jax.sharding import NamedSharding

from aemjax.data.pipeline import Batch, CropBatches
from aemjax.train.card import Card
from aemjax.train.checkpoint import Checkpoints
from aemjax.train.side_by_side import named, own, pick, stack
from aemjax.train.state import TrainState
from aemjax.train.writer import MetricWriter, NoWriter


@dataclasses.dataclass(frozen=True)
class Batches:
    """Step -> the batch of all runs.

    Attributes:
      each: the `CropBatches` of each run.
    """

    each: Sequence[CropBatches]

    def read(self, step: int) -> Batch:
        parts = [batches.read(step) for batches in self.each]
        return {
            key: np.stack([part[key] for part in parts], axis=1) for key in parts[0]
        }

    def scalars(self) -> dict[str, int]:
        return named(batches.scalars() for batches in self.each)


class AllCheckpoints:
    """The checkpoints of all runs, as those of one: what `fit` asks of it.

    Each run has its own folder, which alone says nothing of the others. No step is saved
    before all have the one before it, so after a kill some may have one more: it is
    dropped.
    """

    def __init__(self, each: Sequence[Checkpoints]):
        """Drops what a kill between two saves left.

        Args:
          each: of each run; they keep at least two newest steps.

        Raises:
          ValueError: if there is more that not all have; nothing is dropped.
        """
        self._each = each
        found = [one.steps for one in each]
        self.latest_step = max(set.intersection(*map(set, found)), default=None)
        newest = -1 if self.latest_step is None else self.latest_step
        if any(sum(step > newest for step in steps) > 1 for steps in found):
            raise ValueError(
                "runs that train side by side have different checkpoints, "
                f"{dict(zip(map(str, each), found, strict=True))}; bring back what is "
                "missing, or take another --workdir"
            )
        for one in each:
            one.drop_after(newest)

    def save(
        self, state: TrainState, card: Card, metrics: Mapping | None = None
    ) -> None:
        self.wait()
        for run, one in enumerate(self._each):
            known = None if metrics is None else own(metrics, run)
            one.save(pick(state, run), card, known)

    def restore(
        self, like: TrainState, *, step: int, sharding: NamedSharding
    ) -> TrainState:
        return stack(
            [
                one.restore(pick(like, run), step=step, sharding=sharding)
                for run, one in enumerate(self._each)
            ]
        )

    def wait(self) -> None:
        for one in self._each:
            one.wait()


@dataclasses.dataclass(frozen=True)
class AllWriters:
    """The metrics of all runs, each into its own writer."""

    each: Sequence[MetricWriter | NoWriter]

    def write(self, step: int, values: Mapping[str, int | float]) -> None:
        for run, writer in enumerate(self.each):
            writer.write(step, own(values, run))

    def flush(self) -> None:
        for writer in self.each:
            writer.flush()
