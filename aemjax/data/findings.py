"""What can be wrong with a prepared set; all but a few records is judged by its index.

Each `about_...` returns findings on some rows, none where all is well. They are written
for millions of rows: arrays, no loop over clips.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from aemjax.audio import read
from aemjax.data.duplicates import EqualAudio, counts, shared_rows
from aemjax.data.prepared import PreparedSet

# Ten steps of int16: below, the rounding to 16 bit is less than 31 dB under the sound,
# and standardising a clip makes it loud.
QUIET_STD = 10 / 32_768
# 16 samples a second; a clip that is merely normalised touches full scale once or twice.
CLIPPED_SHARE = 0.001
SHOWN = 5  # names in a message


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong, or may be.

    Attributes:
      level: "error" if training on it is meaningless, else "warning".
      text: what was found, what was expected, the way out.
    """

    level: str
    text: str


def about_counts(data: PreparedSet, splits: Iterable[str]) -> list[Finding]:
    """Clips and classes against the published ones, and what was left out."""
    found = []
    published = data.manifest["published"]
    if published["classes"] not in (None, len(data.label_names)):
        found.append(
            _warning(
                f"{len(data.label_names)} classes, published are "
                f"{published['classes']}: the set is not whole, or not this one"
            )
        )
    for split in splits:
        rows = np.flatnonzero(data.split == split)
        want = published["clips"].get(split, len(rows))
        per_class = class_counts(data, rows)
        off = [
            f"{name!r} {per_class.get(name, 0)} of {clips}"
            for name, clips in published["per_class"].get(split, {}).items()
            if per_class.get(name, 0) != clips
        ]
        if len(rows) == want and not off:
            continue
        classes = f"; {len(off)} classes differ: {listed(off)}" if off else ""
        found.append(
            _warning(
                f"split {split!r} has {len(rows)} clips, published are {want} "
                f"({len(rows) - want:+d}){classes}; complete it, or give the count "
                "beside every result"
            )
        )
    skipped = data.manifest["skipped"]
    if any(skipped.values()):
        why = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        found.append(
            _warning(f"clips were left out ({why}); skipped.csv says which and why")
        )
    return found


def about_levels(data: PreparedSet, rows: np.ndarray) -> list[Finding]:
    """Statistics that no audio in [-1, 1] has; silence, and clips nearly silent."""
    if not len(rows):
        return []
    mean, std = data.mean[rows], data.std[rows]
    # A NaN fails every comparison.
    bad = rows[~((np.abs(mean) <= 1) & (std >= 0) & (std <= 1))]
    if len(bad):
        row = bad[0]
        return [
            _error(
                f"{len(bad)} clips have a mean or a standard deviation that audio in "
                f"[-1, 1] cannot have, the first: {str(data.id[row])!r} with "
                f"{data.mean[row]:g} and {data.std[row]:g}; integers were taken for "
                "floats, or the index is damaged: prepare the set again"
            )
        ]
    quiet = std < QUIET_STD
    full = _share_at_full_scale(data)[rows] > 0.5
    for which, what in (
        (
            quiet,
            f"nearly silent (standard deviation below {QUIET_STD:.1e}): floats were",
        ),
        (full, "mostly at full scale: integers were"),
    ):
        if which.mean() > 0.5:
            return [
                _error(
                    f"{which.sum()} of {len(rows)} clips are {what} most likely stored "
                    "without conversion; correct the source and prepare it again"
                )
            ]
    if quiet.any():
        silent = int(np.sum(std == 0))
        return [
            _warning(
                f"{quiet.sum()} of {len(rows)} clips are nearly silent (standard "
                f"deviation below {QUIET_STD:.1e}), {silent} of them digital silence: "
                f"{listed(data.id[rows[quiet]])}; listen to them"
            )
        ]
    return []


def about_recording(data: PreparedSet) -> list[Finding]:
    """Offset, clipping, and files of less bandwidth than the set."""
    found = []
    if len(offset := data.id[has_offset(data)]):
        found.append(
            _warning(
                f"{len(offset)} clips have a constant offset above their standard "
                f"deviation: {listed(offset)}; standardising removes it, but listen to "
                "them: samples of another format may have been misread"
            )
        )
    if len(clipped := data.id[is_clipped(data)]):
        found.append(
            _warning(
                f"{len(clipped)} of {len(data)} clips have over {CLIPPED_SHARE:.1%} of "
                f"their samples at full scale: {listed(clipped)}; use a source that is "
                "not overdriven, where there is one"
            )
        )
    low = data.source_rate < read.SAMPLE_RATE
    if low.any():
        rates = ", ".join(map(str, np.unique(data.source_rate[low])))
        found.append(
            _warning(
                f"{low.sum()} of {len(data)} clips come from files of {rates} Hz, "
                f"expected {read.SAMPLE_RATE} or more: they hold nothing above half "
                "their rate; if a class has more of them than others, a model learns "
                "the rate"
            )
        )
    return found


def about_records(data: PreparedSet, rows: np.ndarray) -> list[Finding]:
    """Reads these records and compares them with the index."""
    wrong, again = [], "prepare the set again"
    for row in rows:
        try:
            audio = data.read_audio(int(row))
        except ValueError as error:
            wrong.append(str(error))
            continue
        name = f"record {row} ({data.id[row]})"
        if audio.dtype != np.int16:
            wrong.append(f"{name} holds {audio.dtype}, expected int16; {again}")
            continue
        stored = read.statistics(read.from_int16(audio))
        index = float(data.mean[row]), float(data.std[row])
        if not np.allclose(stored, index, rtol=1e-4, atol=1e-6):
            wrong.append(
                f"{name} has mean {stored[0]:g} and standard deviation "
                f"{stored[1]:g}, its index says {index[0]:g} and {index[1]:g}; " + again
            )
    if not wrong:
        return []
    return [
        _error(
            f"{len(wrong)} of {len(rows)} records read are not what the index says, "
            f"the first: {wrong[0]}"
        )
    ]


def about_division(
    data: PreparedSet, train: np.ndarray, evaluated: np.ndarray
) -> list[Finding]:
    """Classes, groups and devices of the two sides of a division."""
    if not (len(train) and len(evaluated)):
        return [
            _error(
                f"{len(train)} clips to train on and {len(evaluated)} to evaluate, "
                "expected some of each; divide the set otherwise"
            )
        ]
    found = []
    sides = [np.array([*class_counts(data, r).values()]) for r in (train, evaluated)]
    names = np.array(data.label_names)
    if len(untrained := names[(sides[0] == 0) & (sides[1] > 0)]):
        found.append(
            _error(
                f"{len(untrained)} classes have clips to evaluate and none to train on: "
                f"{listed(untrained)}; add clips of them, leave the classes out, or "
                "divide the set otherwise"
            )
        )
    if len(unseen := names[sides[1] == 0]):
        found.append(
            _warning(
                f"{len(unseen)} classes have no clips to evaluate: {listed(unseen)}; "
                "means over classes are over the others"
            )
        )
    _, shared = shared_rows(data.group, train, evaluated)
    if len(shared):
        groups = sorted(data.group[shared].tolist())
        found.append(
            _warning(
                f"{len(groups)} groups have clips on both sides: {listed(groups)}; "
                "say so beside results, or divide the set by group"
            )
        )
    devices = [set(counts(data.device[rows])) for rows in (train, evaluated)]
    if new := sorted(devices[1] - devices[0] - {""}):
        found.append(
            _warning(
                f"{len(new)} devices are evaluated and not trained on: {listed(new)}; "
                "report results per device"
            )
        )
    return found


def about_copies_across(
    data: PreparedSet, train: np.ndarray, evaluated: np.ndarray
) -> list[Finding]:
    """The same audio to train on and to evaluate; silence is not counted."""
    train, evaluated = (rows[data.std[rows] > 0] for rows in (train, evaluated))
    ours, theirs = shared_rows(data.digest, train, evaluated)
    if not len(ours):
        return []
    pairs = zip(data.id[ours].tolist(), data.id[theirs].tolist(), strict=True)
    return [
        _warning(
            f"{len(ours)} recordings are both trained and evaluated on, under several "
            f"ids: {listed([' = '.join(pair) for pair in pairs])}; leave one of each out"
        )
    ]


def about_equal_audio(equal: EqualAudio) -> list[Finding]:
    """The same audio under several ids, anywhere in a set."""
    if not equal.clips:
        return []
    examples = [" = ".join(ids) for ids in equal.examples]
    return [
        _warning(
            f"{equal.clips} clips are {equal.recordings} recordings under several ids, "
            f"{equal.other_labels} of them with different labels, "
            f"{equal.across_splits} in several splits, {equal.across_folds} in several "
            f"folds: {listed(examples, equal.recordings)}; leave copies out, or say so "
            "beside results"
        )
    ]


# Arithmetic on the index.


def class_counts(data: PreparedSet, rows: np.ndarray) -> dict[str, int]:
    """Clips by class, every class in label order; one of several labels counts in each."""
    chosen = np.zeros(len(data), bool)
    chosen[rows] = True
    labels = data.label_ids[np.repeat(chosen, np.diff(data.label_offsets))]
    clips = np.bincount(labels, minlength=len(data.label_names))
    return dict(zip(data.label_names, clips.tolist(), strict=True))


def has_offset(data: PreparedSet) -> np.ndarray:
    """Which clips hold more constant offset than sound."""
    return np.abs(data.mean) > np.maximum(data.std, QUIET_STD)


def is_clipped(data: PreparedSet) -> np.ndarray:
    """Which clips have over `CLIPPED_SHARE` of their samples at full scale."""
    return _share_at_full_scale(data) > CLIPPED_SHARE


def _share_at_full_scale(data: PreparedSet) -> np.ndarray:
    return data.clipped_samples / np.maximum(data.n_samples, 1)


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def listed(names: Sequence[str] | np.ndarray, total: int | None = None) -> str:
    """The first few names, and how many more there are (of `total`, if that is more)."""
    shown = ", ".join(map(str, names[:SHOWN]))
    more = (len(names) if total is None else total) - min(len(names), SHOWN)
    return f"{shown} and {more} more" if more else shown


def _error(text: str) -> Finding:
    return Finding("error", text)


def _warning(text: str) -> Finding:
    return Finding("warning", text)
