"""Equal strings in the index of millions of rows: above all, the same audio twice."""

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
    rows = np.flatnonzero(data.std > 0)
    hashed = keys(data.digest[rows])
    order = np.argsort(hashed, kind="stable")
    rows, hashed = rows[order], hashed[order]
    starts = np.flatnonzero(np.append(True, hashed[1:] != hashed[:-1]))
    sizes = np.diff(np.append(starts, len(rows)))
    rows, sizes = rows[np.repeat(sizes > 1, sizes)], sizes[sizes > 1]
    if not len(rows):
        return EqualAudio(0, 0, 0, 0, 0, ())
    starts = np.cumsum(sizes) - sizes

    def differ(values: np.ndarray) -> np.ndarray:
        low, high = (f.reduceat(values, starts) for f in (np.minimum, np.maximum))
        return low != high

    labels = differ(_label_keys(data)[rows])
    splits, folds = differ(keys(data.split[rows])), differ(data.fold[rows])
    worst = np.lexsort((~folds, ~splits, ~labels))[:EXAMPLES]
    return EqualAudio(
        clips=len(rows),
        recordings=len(sizes),
        other_labels=int(labels.sum()),
        across_splits=int(splits.sum()),
        across_folds=int(folds.sum()),
        examples=tuple(
            tuple(data.id[rows[start : start + min(size, EXAMPLES)]].tolist())
            for start, size in zip(starts[worst], sizes[worst], strict=True)
        ),
    )


def shared_rows(
    values: np.ndarray, a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A row of `a` and one of `b` for each string, not empty, that both sides have."""
    if not (len(a) and len(b)):
        return a[:0], b[:0]
    hashed = keys(values)
    ours = np.sort(hashed[a])  # a third of the time of argsort, and most share nothing
    theirs, first = np.unique(hashed[b], return_index=True)
    place = np.minimum(np.searchsorted(ours, theirs), len(ours) - 1)
    both = (ours[place] == theirs) & (values[b[first]] != "")
    a = a[np.isin(hashed[a], theirs[both])]
    _, first_of_a = np.unique(hashed[a], return_index=True)
    return a[first_of_a], b[first[both]]


def counts(values: np.ndarray) -> dict[str, int]:
    """How often each string occurs, in their order."""
    _, first, clips = np.unique(keys(values), return_index=True, return_counts=True)
    return dict(sorted(zip(values[first].tolist(), clips.tolist(), strict=True)))


def keys(values: np.ndarray) -> np.ndarray:
    """Whole numbers, equal where the strings are: they sort 30 times as fast.

    64 bits of a random linear hash; two of two million different strings share one with
    a chance of about 1e-5.
    """
    if not len(values):
        return np.zeros(0, np.uint64)
    characters = np.ascontiguousarray(values).view(np.uint32).reshape(len(values), -1)
    factors = _factors(characters.shape[1])
    result = np.empty(len(values), np.uint64)
    for start in range(0, len(values), 2**16):  # the whole would take 8 bytes a letter
        block = slice(start, start + 2**16)
        result[block] = characters[block].astype(np.uint64) @ factors
    return result


def _label_keys(data: PreparedSet) -> np.ndarray:
    """A whole number for each clip, equal where the sets of labels are."""
    of_labels = _factors(len(data.label_names))[data.label_ids]
    sums = np.append(np.uint64(0), np.cumsum(of_labels))
    return sums[data.label_offsets[1:]] - sums[data.label_offsets[:-1]]


def _factors(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(2**64, size=count, dtype=np.uint64)
