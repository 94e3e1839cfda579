"""Scores every clip of a set once, whatever its length and the number of hosts."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from scipy.special import log_expit, log_softmax

from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import pipeline
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import by_split, group_names
from aemjax.models import AemNet, create
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.train import metrics
from aemjax.train.checkpoint import load
from aemjax.train.intervals import bootstrap, check_resamples
from aemjax.train.sharding import check_batch_size, data_mesh, global_batch, shardings
from aemjax.train.state import TrainState
from aemjax.train.step import jit_eval_step

ON_DEVICE = ("audio", "lengths", "mean", "std")


class Evaluator:
    """Scores the rows of prepared sets with one model; compiled once per length.

    Args:
      batch_size: global.
      window_s, hop_s: clips longer than a window are scored in windows, whose
        probabilities are averaged; 0: whole.

    Raises:
      ValueError: on windows that leave gaps, or shorter than a frame.
    """

    def __init__(
        self,
        model: AemNet,
        mesh: Mesh,
        *,
        batch_size: int,
        threads: int = 4,
        window_s: int | float = 0.0,
        hop_s: int | float = 0.0,
    ):
        window, hop = (round(x * SAMPLE_RATE) for x in (window_s, hop_s))
        if (window or hop) and not (window >= FRAME_SAMPLES and 0 < hop <= window):
            raise ValueError(
                f"windows of {window_s} s every {hop_s} s: expected a frame of 10 ms or "
                "more, and to overlap or touch; eval.window_s and eval.hop_s of 0 are "
                "whole clips"
            )
        self._windows = {"window_samples": window, "hop_samples": hop}
        self._step = jit_eval_step(mesh, model=model)
        self._split = shardings(mesh)[1]
        self._batch_size = batch_size
        self._threads = threads

    def outputs(
        self,
        weights: Mapping,
        data: PreparedSet,
        rows: np.ndarray,
        *,
        keys: Sequence[str],
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """(rows, outputs) batch after batch, longest clips first, on every process.

        A row comes as often as it has windows.

        Args:
          weights: {"params", "batch_stats"}.
          keys: of `eval_step`'s outputs, "logits" and "embedding".
        """
        batches = pipeline.eval_batches(
            data,
            rows,
            batch_size=self._batch_size,
            threads=self._threads,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            **self._windows,
        )
        for batch in batches:
            on_device = global_batch(
                {key: batch[key] for key in ON_DEVICE}, self._split
            )
            own = {"row": batch["row"], "mask": batch["mask"]}
            found = self._step(weights["params"], weights["batch_stats"], on_device)
            found = {key: found[key] for key in keys}
            if jax.process_count() > 1:
                found, own = multihost_utils.process_allgather((found, own), tiled=True)
            keep = np.asarray(own["mask"]) > 0
            yield (
                np.asarray(own["row"])[keep],
                {key: np.asarray(value)[keep] for key, value in found.items()},
            )

    def all_outputs(
        self, weights: Mapping, data: PreparedSet, rows: np.ndarray, key: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """(rows, outputs "n ...") of `outputs`, in one piece."""
        found = list(self.outputs(weights, data, rows, keys=(key,)))
        return (
            np.concatenate([own for own, _ in found]),
            np.concatenate([values[key] for _, values in found]),
        )

    def logits(
        self, weights: Mapping, data: PreparedSet, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(rows, logits "n k"): of every row once, in another order than asked.

        Args:
          weights: {"params", "batch_stats"}.
        """
        rows, logits = self.all_outputs(weights, data, rows, "logits")
        if not self._windows["window_samples"]:
            return rows, logits
        return average_windows(rows, logits, multi_label=data.multi_label)

    def metrics(
        self, state: TrainState, data: PreparedSet, rows: np.ndarray
    ) -> dict[str, int | float]:
        """Metrics of a state; those of its averaged parameters beside them, as `ema_...`."""
        result = score(data, *self.logits(state.weights, data, rows))
        if state.ema is not None:
            ema = score(data, *self.logits(state.averaged, data, rows))
            result |= {
                f"ema_{key}": value
                for key, value in ema.items()
                if key not in metrics.COUNTS
            }
        return result


def average_windows(
    rows: np.ndarray, logits: np.ndarray, *, multi_label: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(each row once, the logits "n k" of its windows' mean probability).

    Args:
      rows: of each window.
      multi_label: whether a probability is a logit's sigmoid, else all logits' softmax.
    """
    rows, window_of = np.unique(rows, return_inverse=True)
    # In logarithms: a probability near 0 has to keep its digits.
    parts = (
        [log_expit(logits), log_expit(-logits)]
        if multi_label
        else [log_softmax(logits, axis=1)]
    )
    counts = np.bincount(window_of)[:, None]
    means = []
    for part in parts:
        total = np.full((len(rows), part.shape[1]), -np.inf)
        np.logaddexp.at(total, window_of, part)
        means.append(total - np.log(counts))
    mean = means[0] - means[1] if multi_label else means[0]
    return rows, mean.astype(np.float32)


def score(
    data: PreparedSet, rows: np.ndarray, logits: np.ndarray
) -> dict[str, int | float]:
    """The metrics that fit the set: all that `metrics` defines for its labels.

    A metric that these rows leave undefined is not among them; "clips" says how many
    rows there were.
    """
    return _score(data, data.labels_multi_hot(rows), data.device[rows], logits)


def _score(
    data: PreparedSet, labels: np.ndarray, devices: np.ndarray, logits: np.ndarray
) -> dict[str, int | float]:
    if data.multi_label:
        return metrics.multi_label_metrics(logits, labels)
    result = metrics.single_label_metrics(logits, labels)
    if (normal := data.class_of("normal_class")) is not None:
        result |= metrics.sensitivity_specificity(logits, labels, normal=normal)
    if (positive := data.class_of("positive_class")) is not None:
        result |= metrics.positive_class_metrics(logits, labels, positive=positive)
    return result | metrics.device_metrics(logits, labels, devices)


def intervals(
    data: PreparedSet,
    rows: np.ndarray,
    logits: np.ndarray,
    *,
    resamples: int,
    seed: int = 0,
) -> dict[str, list[float] | None]:
    """95 % intervals of `score`'s metrics, over the set's groups where it has them.

    A clip without a group is a group of its own. Each resample costs one `score`:
    10 to 30 ms for 3,000 clips of one label, 5 s for AudioSet's 20,371 of 527 classes.

    Returns:
      {metric: [low, high]}; None where `intervals.bootstrap` says there is none.

    Raises:
      ValueError: with too few resamples.
    """
    labels, devices = data.labels_multi_hot(rows), data.device[rows]

    def statistic(drawn: np.ndarray) -> dict[str, int | float]:
        found = _score(data, labels[drawn], devices[drawn], logits[drawn])
        return {k: v for k, v in found.items() if k not in metrics.COUNTS}

    return bootstrap(statistic, group_names(data, rows), resamples=resamples, seed=seed)


def evaluate_checkpoint(
    spec: str,
    path: str | Path,
    *,
    split: str | None = None,
    batch_size: int = 32,
    resamples: int = 0,
) -> dict[str, Any]:
    """Metrics of a checkpoint on a prepared set.

    Args:
      spec: of the checkpoint, as `checkpoint.load` takes it.
      path: of the prepared set.
      split: as `splits.by_split` takes it; None: every clip.
      resamples: of the intervals; 0: none.

    Returns:
      "dataset", "split", "step" and `score`'s metrics; with resamples, also their
      "intervals", how many "resamples", and of how many "resampled_groups".

    Raises:
      ValueError: if checkpoint and set do not exist or have other labels, or on too few
        resamples.
    """
    if resamples:
        check_resamples(resamples)
    weights, card, step = load(spec)
    data = PreparedSet(path)
    data.check_labels(card.labels, spec)
    if split is None and card.data["fingerprint"] == data.fingerprint:
        raise ValueError(
            f"{spec} was trained on {path}; name the part to score with --split, such as "
            "'eval' or 'full:5'"
        )
    rows = np.arange(len(data)) if split is None else by_split(data, split)
    model = create(**card.model)
    mesh = data_mesh()
    check_batch_size(batch_size, mesh)
    evaluator = Evaluator(model, mesh, batch_size=batch_size)
    weights = jax.device_put(weights, shardings(mesh)[0])
    rows, logits = evaluator.logits(weights, data, rows)
    about = {"dataset": data.manifest["dataset"], "split": split or "all", "step": step}
    result = about | score(data, rows, logits)
    if resamples:
        result |= {
            "intervals": intervals(data, rows, logits, resamples=resamples),
            "resamples": resamples,
            "resampled_groups": len(np.unique(group_names(data, rows))),
        }
    return result
