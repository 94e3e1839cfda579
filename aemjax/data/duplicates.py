"""Equal strings in the index of millions of rows: above all, the same audio twice."""

import collections
import dataclasses

import numpy as np

from aemjax.data.prepared import PreparedSet

EXAMPLES = 10  # sets of equal audio named, and ids of each


@dataclasses.dataclass(frozen=True)
class EqualAudio:
    """Clips of the same audio under several ids; clips of zeros are not counted.

    Attributes:
      clips: those whose audio another clip has as well.
      recordings: how many different ones these are.
      other_labels, across_splits, across_folds: of the recordings, those whose clips
        differ in their labels, their split, their fold.
      examples: ids of clips, a tuple per recording, those that differ first.
    """

    clips: int
    recordings: int
    other_labels: int
    across_splits: int
    across_folds: int
    examples: tuple[tuple[str, ...], ...]


def equal_audio(data: PreparedSet) -> EqualAudio:
    """Finds the clips of a set that have the same audio."""
    sounding = np.flatnonzero(data.std > 0)
    digests = data.digest[sounding].tolist()
    clips = collections.Counter(digests)
    copies = collections.defaultdict(list)
    for row, digest in zip(sounding.tolist(), digests, strict=True):
        if clips[digest] > 1:
            copies[digest].append(row)

    def labels(row: int) -> frozenset[int]:
        begin, end = data.label_offsets[row : row + 2]
        return frozenset(data.label_ids[begin:end].tolist())

    # Of each recording: do its labels, splits, folds differ?
    aspects = labels, data.split.item, data.fold.item
    differ = {
        digest: [len(set(map(aspect, rows))) > 1 for aspect in aspects]
        for digest, rows in copies.items()
    }
    worst = sorted(copies, key=differ.get, reverse=True)[:EXAMPLES]
    return EqualAudio(
        sum(map(len, copies.values())),
        len(copies),
        *(sum(values[i] for values in differ.values()) for i in range(len(aspects))),
        tuple(tuple(data.id[copies[d][:EXAMPLES]].tolist()) for d in worst),
    )


def shared_rows(
    values: np.ndarray, a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each side for each string, not empty, that both sides have."""
    ours, theirs = (  # of equal keys the last stays
        dict(zip(values[rows[::-1]].tolist(), rows[::-1].tolist(), strict=True))
        for rows in (a, b)
    )
    both = sorted(ours.keys() & theirs.keys() - {""})
    return tuple(np.array([of[text] for text in both], int) for of in (ours, theirs))


def counts(values: np.ndarray) -> dict[str, int]:
    """How often each string occurs, in their order."""
    return dict(sorted(collections.Counter(values.tolist()).items()))
