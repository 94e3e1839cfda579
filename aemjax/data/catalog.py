"""The datasets that `aemjax prepare` knows."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from aemjax.data import audioset, esc50, manifest, urbansound8k
from aemjax.data.clips import Listing


@dataclasses.dataclass(frozen=True)
class Dataset:
    """An entry of the catalogue.

    Attributes:
      read: official folder -> Listing.
      multi_label: sigmoid and mAP rather than softmax and accuracy; None: where any
        clip has several labels.
      keeps_silence: a clip of zeros is a legitimate example (AudioSet has a class for
        it), not a fault of the file.
      published_clips: clips by split as published, to compare with.
      home: where the audio is to be had.
    """

    read: Callable[[Path], Listing]
    multi_label: bool | None
    keeps_silence: bool
    published_clips: dict[str, int]
    home: str


DATASETS = {
    "audioset": Dataset(
        read=audioset.read,
        multi_label=True,
        keeps_silence=True,
        published_clips={
            "unbalanced_train": 2_041_789,
            "balanced_train": 22_160,
            "eval": 20_371,
        },
        home="research.google.com/audioset (csv files); audio from YouTube, by you",
    ),
    "esc50": Dataset(
        read=esc50.read,
        multi_label=False,
        keeps_silence=False,
        published_clips={"full": 2000},
        home="github.com/karolpiczak/ESC-50",
    ),
    "esc10": Dataset(
        read=esc50.read_esc10,
        multi_label=False,
        keeps_silence=False,
        published_clips={"full": 400},
        home="github.com/karolpiczak/ESC-50 (the rows marked esc10)",
    ),
    "urbansound8k": Dataset(
        read=urbansound8k.read,
        multi_label=False,
        keeps_silence=False,
        published_clips={"full": 8732},
        home="urbansounddataset.weebly.com",
    ),
    "manifest": Dataset(
        read=manifest.read,
        multi_label=None,
        keeps_silence=False,
        published_clips={},
        home="your own: a csv with path,label or a folder per class",
    ),
}


def get(name: str) -> Dataset:
    """The catalogue's entry.

    Raises:
      ValueError: on an unknown name.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}; known: {sorted(DATASETS)}")
    return DATASETS[name]
