"""Orbax checkpoints: one step = weights, optimiser, EMA and a JSON card.

    WORKDIR/checkpoints/STEP/{weights,optimizer,ema,masks,card,metrics}

`weights` is what inference needs: {"params", "batch_stats"}; `ema` is the same with the
averaged parameters; `masks` are those of a pruned network. The newest, the best by a
metric and step 0 are kept. With several processes, each calls what is here, as often and
in the same order.
"""

import dataclasses
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import NamedSharding
from orbax.checkpoint import checkpoint_managers

from aemjax.data.folders import AnyPath, as_path
from aemjax.train.card import Card
from aemjax.train.checkpoint_errors import whole_steps, writing
from aemjax.train.checkpoint_manager import Manager
from aemjax.train.state import TrainState
from aemjax.train.workdir import difference

PyTree = Any
FOLDER = "checkpoints"
DELETION_S = 1.0  # longer than deleting a step takes


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(
        self,
        workdir: str | AnyPath,
        *,
        metric: str | None = None,
        keep_latest: int = 1,
        read_only: bool = False,
    ):
        """Opens or makes WORKDIR/checkpoints.

        Args:
          metric: name among an evaluation's metrics; the step where it is highest is
            kept.
          keep_latest: newest steps to keep.
          read_only: touch nothing, not even what a killed save left behind.

        Raises:
          ValueError: if `keep_latest` is below 1, or the metrics of a step are damaged.
        """
        if keep_latest < 1:
            raise ValueError(
                f"checkpoint.keep_latest is {keep_latest}, expected 1 or more"
            )
        self._metric = metric
        policies = [
            checkpoint_managers.LatestN(keep_latest),
            checkpoint_managers.CustomSteps([0]),
        ]
        rank = None
        if metric:

            def rank(metrics: Mapping[str, int | float]) -> float:
                return metrics[metric]

            policies.append(
                checkpoint_managers.BestN(
                    get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False
                )
            )
        self._folder = str(as_path(workdir) / FOLDER)
        self._manager = Manager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
                best_fn=rank,  # without it Orbax stores no metrics
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
                # Orbax sets these by itself too, but warns each time.
                create=not read_only,
                save_interval_steps=0 if read_only else 1,
                # Metrics say what to delete; a damaged step must not keep others back.
                lightweight_initialize=read_only,
            ),
        )

    def save(
        self,
        state: TrainState,
        card: Card,
        metrics: Mapping[str, int | float] | None = None,
    ) -> None:
        """Saves in the background; call it on every process.

        Raises:
          ValueError: if there are metrics, and the one to select by is not among them.
          OSError: if this or the save before cannot be written.
        """
        if metrics is not None and self._metric not in metrics:
            raise ValueError(
                f"checkpoint.metric is {self._metric!r}, which the clips evaluated on "
                "(those of data.validation_share, if any) leave undefined; defined are "
                f"{sorted(metrics)}"
            )
        items = {
            "weights": ocp.args.StandardSave(state.weights),
            "optimizer": ocp.args.StandardSave(state.opt_state),
            "card": ocp.args.JsonSave(dataclasses.asdict(card)),
        }
        if state.ema is not None:
            items["ema"] = ocp.args.StandardSave(state.averaged)
        if state.masks is not None:
            items["masks"] = ocp.args.StandardSave(state.masks)
        with writing(self._folder):
            self._manager.save(
                int(state.step),
                args=ocp.args.Composite(**items),
                metrics=dict(metrics) if metrics is not None else None,
                force=True,
            )

    def __str__(self) -> str:
        return self._folder

    @property
    def steps(self) -> list[int]:
        """Every whole step, ascending."""
        return sorted(self._manager.all_steps())

    @property
    def latest_step(self) -> int | None:
        """The newest whole step; None where there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """The step where the metric was highest; None where it was never measured.

        Raises:
          ValueError: if the metrics of a step are damaged.
        """
        scored = {
            step: metrics[self._metric]
            for step in self.steps
            if (metrics := self.metrics(step))
        }
        # The last of equals: the one that BestN keeps.
        return max(scored, key=lambda step: (scored[step], step), default=None)

    def drop_after(self, step: int) -> None:
        """Deletes every later step."""
        for later in self.steps:
            if later > step:
                self._manager.delete(later)

    def metrics(self, step: int) -> dict[str, int | float] | None:
        """The metrics saved with a step; None where it has none.

        Raises:
          ValueError: if they are damaged.
        """
        return self._manager.metrics(step)

    def card(self, step: int) -> Card:
        """The card saved with a step.

        Raises:
          ValueError: if it is damaged.
          OSError: if it cannot be read now.
        """
        with self._manager.reading(step, "card"):
            restored = self._manager.restore(
                step, args=ocp.args.Composite(card=ocp.args.JsonRestore())
            )
            return Card(**restored.card)

    def restore(
        self, like: TrainState, *, step: int, sharding: NamedSharding
    ) -> TrainState:
        """The state at a step, onto whatever devices `sharding` names.

        Args:
          like: a state of the same run, for its structure.

        Raises:
          ValueError: if the checkpoint is of another model or optimiser, or damaged.
          OSError: if it cannot be read now.
        """

        def abstract(tree):
            return jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
                tree,
            )

        wanted = {"weights": like.weights, "optimizer": like.opt_state}
        if like.ema is not None:
            wanted["ema"] = like.averaged
        if like.masks is not None:
            wanted["masks"] = like.masks
        self._check_shapes(step, wanted["weights"])
        args = {k: ocp.args.StandardRestore(abstract(v)) for k, v in wanted.items()}
        with self._manager.reading(step, "state"):
            restored = self._manager.restore(step, args=ocp.args.Composite(**args))
        return like.replace(
            step=jax.device_put(jax.numpy.int32(step), sharding),
            params=restored.weights["params"],
            batch_stats=restored.weights["batch_stats"],
            opt_state=restored.optimizer,
            ema=restored.ema["params"] if like.ema is not None else None,
            masks=restored.masks if like.masks is not None else None,
        )

    def load_weights(self, step: int, item: str = "weights") -> PyTree:
        """{"params", "batch_stats"} of a step, as NumPy arrays on the host.

        Args:
          item: "weights", or "ema": with averaged parameters, where the run keeps them.

        Raises:
          ValueError: if the step holds no such item, or it is damaged.
          OSError: if it cannot be read now.
        """
        # Weights are in every step: without them it is damaged.
        if item != "weights" and not as_path(self._path(step, item)).is_dir():
            raise ValueError(
                f"step {step} of {self._folder} holds no {item!r}; expected 'weights', "
                "or 'ema' of a run with train.ema_decay"
            )
        with (
            self._manager.reading(step, item),
            ocp.StandardCheckpointer() as checkpointer,
        ):
            stored = self._stored(step, item)
            device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            like = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
                stored,
            )
            restored = checkpointer.restore(self._path(step, item), like)
            return jax.device_get(restored)

    def _path(self, step: int, item: str) -> str:
        return f"{self._folder}/{step}/{item}"

    def _stored(self, step: int, item: str) -> PyTree:
        """Shapes and dtypes of an item."""
        # A checkpointer's `metadata` keeps to itself why there are none.
        handler = ocp.StandardCheckpointHandler()
        return dict(handler.metadata(self._manager.directory / str(step) / item).tree)

    def _check_shapes(self, step: int, wanted: PyTree) -> None:
        with self._manager.reading(step, "weights"):
            found = _shapes(self._stored(step, "weights"))
        if found != (wanted := _shapes(wanted)):
            raise ValueError(
                f"{self._path(step, 'weights')} is a checkpoint of another model; "
                + difference(found, wanted, "the checkpoint", "this run")
            )

    def wait(self) -> None:
        """Returns when every save is on disk.

        Raises:
          OSError: if one cannot be written.
        """
        with writing(self._folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        with writing(self._folder):
            self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        # XLA's errors may mean that another process has gone: a save would wait for it.
        lost = kind is not None and issubclass(kind, jax.errors.JaxRuntimeError)
        if not (lost and jax.process_count() > 1):
            self.close()


def split_spec(spec: str) -> tuple[str, str | None]:
    """("WORKDIR", what is behind its "@", if anything) of what `load` takes."""
    return re.fullmatch(r"(.*?)(?:@([^@/]*))?", spec).groups()


def did_you_mean(folder: str) -> str:
    """The end of a message that names a run within, as a fine-tuning's folder has."""
    found = sorted(inner.parent.name for inner in as_path(folder).glob(f"*/{FOLDER}"))
    return f"; did you mean {os.path.join(folder, found[0])}?" if found else ""


def load(spec: str) -> tuple[PyTree, Card, int]:
    """(weights as NumPy arrays, card, step) of a run's checkpoint.

    The parameters are the averaged ones where the run was selected by their score.

    Args:
      spec: "WORKDIR" (the best step, else the newest), "WORKDIR@last", "WORKDIR@STEP";
        WORKDIR may be in a bucket.

    Raises:
      ValueError: if there is no such checkpoint, or it is damaged.
      OSError: if it cannot be read now.
    """
    folder, which = split_spec(spec)
    path = as_path(folder)
    if not (path / FOLDER).is_dir():
        raise ValueError(
            f"{folder} holds no {FOLDER}/; expected a run's folder{did_you_mean(folder)}"
        )
    steps = whole_steps(str(path / FOLDER))
    while True:
        if not steps:
            raise ValueError(f"{path / FOLDER} holds no whole checkpoint")
        if which and which != "last" and which not in map(str, steps):
            raise ValueError(
                f"{spec}: no such step; {folder} holds {steps}, and 'last'; without "
                "'@' it is the best step"
            )
        try:
            return _load(path, which, steps[-1])
        except ValueError as error:
            # A run that trains saves a step and then deletes one, which may be this.
            time.sleep(DELETION_S)
            before, steps = steps, whole_steps(str(path / FOLDER))
            if steps == before:
                raise
            if jax.process_count() > 1:  # each would choose another
                raise ValueError(
                    f"{path / FOLDER} held {before} and now {steps}, as its run trains; "
                    "start the same command again"
                ) from error


def _load(path: AnyPath, which: str | None, newest: int) -> tuple[PyTree, Card, int]:
    step = int(which) if which and which != "last" else newest
    with Checkpoints(path, read_only=True) as checkpoints:
        card = checkpoints.card(step)
    with Checkpoints(path, metric=card.metric, read_only=True) as checkpoints:
        if not which:
            step = checkpoints.best_step or newest
        return checkpoints.load_weights(step, card.item), card, step


def merge(target: PyTree, source: PyTree, patterns: Sequence[str]) -> PyTree:
    """`target` with the leaves that match a pattern taken from `source`.

    Paths are those within "params" and "batch_stats" ("backbone/bn3/scale"); every
    matching leaf of the target must be in the source with its shape, and the other way
    round.

    Raises:
      ValueError: on any mismatch, printing both sides.
    """

    def chosen(path) -> bool:
        name = jax.tree_util.keystr(path[1:], simple=True, separator="/")
        return any(re.fullmatch(pattern, name) for pattern in patterns)

    def select(tree):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {path: leaf for path, leaf in leaves if chosen(path)}

    wanted, found = _shapes(target, chosen), _shapes(source, chosen)
    if not wanted:
        raise ValueError(f"patterns {list(patterns)} match no parameter")
    if wanted != found:
        raise ValueError(
            "the checkpoint does not fit the model; "
            + difference(found, wanted, "the checkpoint", "the model")
        )
    loaded = select(source)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: loaded.get(path, leaf), target
    )


def _shapes(tree: PyTree, chosen=lambda path: True) -> dict[str, tuple[int, ...]]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if chosen(path)
    }
