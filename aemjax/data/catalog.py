"""The datasets that `aemjax prepare` knows: what they are, and how they are measured."""

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from aemjax.data import (
    audioset,
    esc50,
    manifest,
    urbansound8k,
)
from aemjax.data.clips import Listing

SINGLE_LABEL_METRICS = ("accuracy", "precision", "recall", "F1", "log_loss")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """An entry of the catalogue.

    Attributes:
      read: official folder -> Listing.
      home: where the audio is to be had.
      classes: how many are published; None: as many as the user's own set has.
      multi_label: sigmoid and mAP rather than softmax and accuracy; None: where any
        clip has several labels.
      protocols: the ways in which published work divides it, the first one official
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


DATASETS = {
    "audioset": Dataset(
        read=audioset.read,
        home="research.google.com/audioset (csv files); audio from YouTube, by you",
        classes=527,
        multi_label=True,
        protocols=("official",),
        official=("unbalanced_train", "eval"),
        metrics=("mAP", "AUC", "d_prime"),
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
    ),
    "esc10": Dataset(
        read=esc50.read_esc10,
        home="github.com/karolpiczak/ESC-50 (the rows marked esc10)",
        classes=10,
        protocols=("official", "draws"),
        published_clips={"full": 400},
    ),
    "urbansound8k": Dataset(
        read=urbansound8k.read,
        home="urbansounddataset.weebly.com",
        classes=10,
        protocols=("official",),
        published_clips={"full": 8732},
    ),
    "manifest": Dataset(
        read=manifest.read,
        home="your own: a csv with path,label or a folder per class",
        classes=None,
        multi_label=None,
        protocols=("official", "kfold", "draws"),
        metrics=(*SINGLE_LABEL_METRICS, "mAP", "AUC", "d_prime"),
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
    except (ImportError, AttributeError) as error:
        raise ValueError(f"dataset {name!r} cannot be imported: {error}") from error
    if not isinstance(dataset, Dataset) or not re.fullmatch(r"[A-Za-z]\w*", attribute):
        raise ValueError(
            f"{name} is {dataset!r}, expected an aemjax.data.catalog.Dataset"
        )
    return dataset
