"""Runs that a report is about, read from their folders."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aemjax.data.catalog import DATASETS
from aemjax.data.folders import AnyPath, as_path
from aemjax.models.aemnet import DEFAULT_HEADS
from aemjax.train.card import Card
from aemjax.train.checkpoint import load
from aemjax.train.intervals import fold_interval, over_folds
from aemjax.train.metrics import COUNTS
from aemjax.train.workdir import CONFIG, read_config, read_results
from aemjax.train.writer import read

AVERAGED = "ema_"
# `selected_on` of results, where no clips were held out to select on.
AT_HAND = 0.8  # of AudioSet's clips counts as the set: nobody has every one
EVALUATED = "the clips evaluated on"


@dataclasses.dataclass(frozen=True)
class Spread:
    """A metric over the folds of a run; of one fold, over its seeds.

    Attributes:
      std: sample deviation; None of one run.
      interval: 95 %, of the mean; of one run the bootstrap's over its clips; None where
        there is neither.
    """

    mean: int | float
    std: int | float | None = None
    interval: tuple[int | float, int | float] | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
      path, name: its folder; a name that no other folder of the report has.
      results: of results.json.
      config: of config.json.
      commit: of the code that began it.
    """

    path: AnyPath
    name: str
    results: Mapping[str, Any]
    config: Mapping[str, Any]
    commit: str

    @property
    def finetuning(self) -> bool:
        return "runs" in self.results

    @property
    def commits(self) -> list[str]:
        """Of the code that began it, and of that which ended it if it is another."""
        last = self.results.get("commit", self.commit)
        return [self.commit] if last == self.commit else [self.commit, last]

    @property
    def metric(self) -> str:
        """By which the best epoch was chosen, of averaged weights or not."""
        return self.config["checkpoint"]["metric"].removeprefix(AVERAGED)

    @property
    def of_averaged(self) -> bool:
        """Whether averaged weights were selected by their score."""
        return self.config["checkpoint"]["metric"].startswith(AVERAGED)

    @property
    def pruned(self) -> float:
        """Share of its parameters that were pruned."""
        return self.config.get("prune", {}).get("sparsity", 0.0)

    @property
    def quantized(self) -> str:
        """The run that it goes on from in integers; "" for none."""
        return self.config.get("quantize", {}).get("run", "")

    @property
    def by_stage(self) -> str:
        """What its learning rates have beside the embedder's share; "" for nothing."""
        optimizer = self.config["optimizer"]
        if optimizer.get("groups"):
            return f"own groups {', '.join(optimizer['groups'])}"
        options = {"layer_decay": 1, "unfreeze_fraction": 0}
        changed = {k: optimizer.get(k, v) for k, v in options.items()}
        return ", ".join(f"{k} {v:g}" for k, v in changed.items() if v != options[k])

    @property
    def split(self) -> str:
        """What was trained and evaluated on, in words."""
        data = self.config["data"]
        return self.results.get("split") or f"{data['train']} -> {data['eval']}"

    @property
    def seeds(self) -> list[int]:
        if not self.finetuning:
            return [self.config["seed"]]
        return sorted({fold["seed"] for fold in self.results["runs"]})

    @property
    def folders(self) -> dict[str, AnyPath]:
        """Where each run's metrics and checkpoints are, by its name."""
        if not self.finetuning:
            return {"": self.path}
        several = len(self.seeds) > 1
        return {
            f"fold {run['fold']}" + f", seed {run['seed']}" * several: (
                self.path / f"fold{run['fold']}_seed{run['seed']}"
            )
            for run in self.results["runs"]
        }

    @property
    def entries(self) -> tuple[str, ...]:
        """What was evaluated: "best", "last", and "ema" where weights were averaged."""
        names = self.metric_names("last", averaged=True)
        if names or (
            self.finetuning and all("ema" in fold for fold in self.results["runs"])
        ):
            return ("best", "last", "ema")
        return ("best", "last")

    def metric_names(self, entry: str, *, averaged: bool = False) -> list[str]:
        """Names of an entry's metrics, without counts.

        Args:
          averaged: those of the averaged weights, without their prefix.
        """
        found = set.intersection(*(set(m) for m in self._metrics(entry))) - {*COUNTS}
        theirs = {name for name in found if name.startswith(AVERAGED)}
        if averaged:
            return sorted(name.removeprefix(AVERAGED) for name in theirs)
        return sorted(found - theirs)

    def spread(self, entry: str, metric: str) -> Spread | None:
        """A metric over the folds; None where it was not measured.

        Args:
          entry: "best", "last" or "ema": averaged weights at the end of training.
        """
        if entry == "ema":
            return self._ema(metric)
        values = [found.get(metric) for found in self._metrics(entry)]
        if not values or None in values:
            return None
        return self._spread(values, entry, metric)

    def selected(self, entry: str, metric: str) -> Spread | None:
        """`spread` of the weights that the run was selected by: averaged, or as they are."""
        averaged = None
        if self.of_averaged and entry != "ema":  # in a file of both, under that name
            averaged = self.spread(entry, AVERAGED + metric)
        return averaged or self.spread(entry, metric)

    def _ema(self, metric: str) -> Spread | None:
        last = self.spread("last", AVERAGED + metric)
        if last is not None or not self.finetuning:
            return last
        values = [
            fold.get("ema", {}).get("metrics", {}).get(metric)
            for fold in self.results["runs"]
        ]
        return None if None in values else self._spread(values, "ema", metric)

    def _spread(self, values: Sequence[int | float], entry: str, metric: str) -> Spread:
        if self.finetuning:
            values = over_folds(values, [run["fold"] for run in self.results["runs"]])
        if len(values) == 1:
            interval = self._bootstrap(entry, metric)
            return Spread(float(values[0]), None, tuple(interval) if interval else None)
        std = float(np.std(values, ddof=1))
        return Spread(float(np.mean(values)), std, fold_interval(values))

    def _metrics(self, entry: str) -> list[Mapping[str, int | float]]:
        if self.finetuning:
            return [fold[entry]["metrics"] for fold in self.results["runs"]]
        return [self.results[entry] or {}]

    def _bootstrap(self, entry: str, metric: str) -> Sequence[int | float] | None:
        if not self.finetuning:
            return None
        return self.results["runs"][0][entry].get("intervals", {}).get(metric)

    def confusion(self, entry: str) -> np.ndarray | None:
        """Clips by true class (row) and guess (column), of all folds together.

        None of a multi-label run.
        """
        found = [
            fold.get(entry, {}).get("confusion")
            for fold in self.results.get("runs", ())
        ]
        if not found or None in found:
            return None
        return np.sum(np.array(found), axis=0)

    def curves(self, key: str) -> dict[str, tuple[list[int], list[int | float]]]:
        """(steps, values) of what was logged, by fold; folds without it are left out."""
        result = {}
        for name, folder in self.folders.items():
            lines = [line for line in read(folder) if key in line]
            if lines:
                result[name] = [x["step"] for x in lines], [x[key] for x in lines]
        return result

    @functools.cached_property
    def checkpoint(self) -> tuple[Mapping, Card, int] | str:
        """(weights, card, step) of the first fold's best; or why there is none."""
        try:
            return load(str(next(iter(self.folders.values()))))
        except (ValueError, OSError) as error:
            return str(error)

    @property
    def card(self) -> Card | None:
        return None if isinstance(self.checkpoint, str) else self.checkpoint[1]

    @property
    def dataset(self) -> str:
        """Its name; "unknown" of a pretraining run without its checkpoint."""
        if "dataset" in self.results:
            return self.results["dataset"]
        return self.card.data["dataset"] if self.card else "unknown"

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What `published.Row.wants` names: config fields, and what follows from them."""
        model = self.config["model"]
        distill = self.config.get("distill", {})
        return dict(_flat(self.config)) | {
            "kind": "fine-tuning" if self.finetuning else "pretraining",
            "dataset": self.dataset,
            "pretrained": bool(self.results.get("init_from")),
            "distilled": bool(distill.get("teacher") or distill.get("logits")),
            # A run of one fold, with another head, or of a part of its set (or a small
            # twin of it) repeats nothing published.
            "whole": not self.config["data"].get("fold", 0)
            and not self.by_stage
            and not (self.pruned or self.quantized)
            and model.get("head") in (None, DEFAULT_HEADS.get(model["name"]))
            and self._of_whole_set(),
        }

    def _of_whole_set(self) -> bool:
        published = DATASETS.get(self.dataset)
        if (
            published is None
            or self.config["model"]["num_classes"] != published.classes
        ):
            return False
        if not self.finetuning:
            train, evaluated = (
                published.published_clips.get(self.config["data"][side], math.inf)
                for side in ("train", "eval")
            )
            last = self.results["last"] or {}
            return (
                self.results["train_clips"] >= AT_HAND * train
                and last.get("clips", 0) >= AT_HAND * evaluated
            )
        wanted = sum(published.published_clips.values())
        if not wanted:
            return True
        kinds = ("train_clips", "validation_clips", "eval_clips")
        return all(
            sum(fold.get(kind, 0) for kind in kinds) == wanted
            for fold in self.results["runs"]
        )

    def repeats(self, wants: Mapping[str, Any] | None) -> bool:
        """Whether the run is what a published row is about."""
        return wants is not None and agrees(self.facts, wants)


def read_run(folder: str | AnyPath, *, name: str | None = None) -> Run:
    """A finished run.

    Args:
      name: of the run; None: its folder's.

    Raises:
      ValueError: if the folder is none, or the run is not finished.
    """
    path = as_path(folder)
    results = read_results(folder)
    if not (path / CONFIG).is_file():
        raise ValueError(
            f"{folder} has results and no {CONFIG}; give a run's own folder"
        )
    if "runs" not in results and "steps" not in results:
        raise ValueError(
            f"{folder} holds the results of neither job; expected a folder of `python -m "
            "finetune`, of `python -m pretrain`, or of a sweep"
        )
    about = read_config(path)
    return Run(path, name or path.name, results, about["config"], about["commit"])


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def agrees(facts: Mapping[str, Any], wants: Mapping[str, Any]) -> bool:
    """Whether `Run.facts` are of a whole run, and have every value that is wanted."""
    return bool(facts.get("whole")) and all(
        _same(facts.get(key), value) for key, value in wants.items()
    )


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, int | float):
        return math.isclose(found, wanted, rel_tol=1e-6)
    return found == wanted
