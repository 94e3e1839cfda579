"""The datasets that `aemjax prepare` knows: what they are, and how they are measured."""

import dataclasses
import functools
import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from aemjax.data import (
    audioset,
    covid19sounds,
    dcase2013,
    esc50,
    icbhi2017,
    manifest,
    tau2020,
    urbansound8k,
)
from aemjax.data.clips import Listing

SINGLE_LABEL_METRICS = ("accuracy", "precision", "recall", "F1", "log_loss")
RANKING_METRICS = ("mAP", "AUC", "d_prime")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """An entry of the catalogue.

    Attributes:
      read: official folder -> Listing.
      home: where the audio is to be had.
      classes: how many are published; None: as many as the user's own set has.
      multi_label: sigmoid and mAP rather than softmax and accuracy; None: where any
        clip has several labels.
      protocols: the ways in which published work divides it, the usual one first
        (`aemjax.data.splits`).
      official: (trained on, evaluated on) of the official division, in the form of
        `splits.by_split`; None: the official folds, or none at all.
      metrics: those that are published for it.
      normal_class: the class that specificity is of, the others being sensitivity's.
      positive_class: the class whose own precision, recall and F1 are reported.
      keeps_silence: a clip of zeros is a legitimate example (AudioSet has a class for
        it), not a fault of the file.
      published_clips: clips by split as published, to compare with.
      published_per_class: {split: {class: clips}} as published.
    """

    read: Callable[[Path], Listing]
    home: str
    classes: int | None
    protocols: tuple[str, ...]
    multi_label: bool | None = False
    official: tuple[str, str] | None = None
    metrics: tuple[str, ...] = SINGLE_LABEL_METRICS
    normal_class: str | None = None
    positive_class: str | None = None
    keeps_silence: bool = False
    published_clips: Mapping[str, int] = dataclasses.field(default_factory=dict)
    published_per_class: Mapping[str, Mapping[str, int]] = dataclasses.field(
        default_factory=dict
    )

    def describe(self) -> dict[str, str]:
        """The entry in words."""
        kinds = {True: "several", False: "one", None: "one or several"}
        return {
            "classes": str(self.classes or "as many as it has"),
            "labels of a clip": kinds[self.multi_label],
            "clips": ", ".join(f"{k} {v:,}" for k, v in self.published_clips.items())
            or "as many as it has",
            "protocols": ", ".join(self.protocols),
            "metrics": ", ".join(self.metrics),
            "audio": self.home,
        }


def _covid19sounds(task: int) -> Dataset:
    per_class = covid19sounds.PUBLISHED[task]
    return Dataset(
        read=functools.partial(covid19sounds.read, task=task),
        home="covid-19-sounds.org, on request (the release of 2020)",
        classes=2,
        protocols=("draws",),
        metrics=(
            *SINGLE_LABEL_METRICS,
            *("positive_precision", "positive_recall", "positive_F1"),
        ),
        positive_class="covid",
        published_clips={s: sum(clips.values()) for s, clips in per_class.items()},
        published_per_class=per_class,
    )


DATASETS = {
    "audioset": Dataset(
        read=audioset.read,
        home="research.google.com/audioset (csv files); audio from YouTube, by you",
        classes=527,
        multi_label=True,
        protocols=("official",),
        official=("unbalanced_train", "eval"),
        metrics=RANKING_METRICS,
        keeps_silence=True,
        published_clips={
            "unbalanced_train": 2_041_789,
            "balanced_train": 22_160,
            "eval": 20_371,
        },
    ),
    "esc50": Dataset(
        read=esc50.read,
        home="github.com/karolpiczak/ESC-50",
        classes=50,
        protocols=("official", "draws"),
        published_clips={"full": 2000},
        published_per_class=esc50.PUBLISHED,
    ),
    "esc10": Dataset(
        read=esc50.read_esc10,
        home="github.com/karolpiczak/ESC-50 (the rows marked esc10)",
        classes=10,
        protocols=("official", "draws"),
        published_clips={"full": 400},
        published_per_class=esc50.PUBLISHED_ESC10,
    ),
    "urbansound8k": Dataset(
        read=urbansound8k.read,
        home="urbansounddataset.weebly.com",
        classes=10,
        protocols=("official",),
        published_clips={"full": 8732},
        published_per_class=urbansound8k.PUBLISHED,
    ),
    "dcase2013": Dataset(
        read=dcase2013.read,
        home="archive.org: dcase2013_scene_classification and the same with _testset",
        classes=10,
        # Not official: the challenge cross-validates on its test set alone (Stowell et
        # al. 2015), Galindo-Meza 2021 on both sets; "lists" divides by set.
        protocols=("kfold", "draws"),
        published_clips={"train": 100, "test": 100},
        published_per_class=dcase2013.PUBLISHED,
    ),
    "tau2020": Dataset(
        read=tau2020.read,
        home="zenodo.org/records/3819968",
        classes=10,
        protocols=("official",),
        official=("train", "test"),
        metrics=(
            *SINGLE_LABEL_METRICS,
            *(f"accuracy/{device}" for device in tau2020.DEVICES),
            *(f"log_loss/{device}" for device in tau2020.DEVICES),
        ),
        published_clips={"train": 13_965, "test": 2970},
        published_per_class=tau2020.PUBLISHED,
    ),
    "icbhi2017": Dataset(
        read=icbhi2017.read,
        home="bhichallenge.med.auth.gr",
        classes=4,
        protocols=("official", "draws", "kfold"),
        official=("train", "test"),
        metrics=("Se", "Sp", "AS", "HS", *SINGLE_LABEL_METRICS),
        normal_class="normal",
        published_clips={"train": 4142, "test": 2756},
        published_per_class=icbhi2017.PUBLISHED,
    ),
    **{f"covid19sounds_task{task}": _covid19sounds(task) for task in (1, 2, 3)},
    "manifest": Dataset(
        read=manifest.read,
        home="your own: a csv with path,label or a folder per class",
        classes=None,
        multi_label=None,
        protocols=("official", "kfold", "draws", "lists"),
        metrics=(*SINGLE_LABEL_METRICS, *RANKING_METRICS),
    ),
}


def get(name: str) -> Dataset:
    """The entry; your own is named by import path, "package.module:BIRDS".

    Raises:
      ValueError: on an unknown name, or an import that gives no Dataset.
    """
    if name in DATASETS:
        return DATASETS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(
            f"unknown dataset {name!r}; known: {sorted(DATASETS)}, or 'package.module:"
            "NAME' for a Dataset of your own"
        )
    try:
        dataset = getattr(importlib.import_module(module), attribute)
    # A relative or empty module name raises one of the last two.
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"dataset {name!r} cannot be imported: {error}; run the command in the folder "
            "that holds its package, or install it"
        ) from error
    if not isinstance(dataset, Dataset) or not re.fullmatch(r"[A-Za-z]\w*", attribute):
        raise ValueError(
            f"{name} is {dataset!r}, expected an aemjax.data.catalog.Dataset"
        )
    return dataset
