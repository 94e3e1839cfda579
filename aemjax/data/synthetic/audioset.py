"""The twin of AudioSet: the four csv files and one audio file per segment.

Or, with `layout="parquet"`, the parquet files of Hugging Face's `agkphysics/AudioSet`:
`data/{unbal_train,bal_train,eval}/*.parquet`, rows of an id, a FLAC file and labels.
"""

import functools
import io
import string
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from aemjax.data import sounds
from aemjax.data.sounds import SoundClass
from aemjax.data.synthetic import files

# Shares of the clips; the real set is 98 / 1 / 1 %, which no small twin could test.
SPLITS = {"unbalanced_train": 0.7, "balanced_train": 0.15, "eval": 0.15}
SAMPLE_RATES = (16000, 16000, 22050, 44100, 48000)

# How downloaders name their files; starts and ends in seconds or in milliseconds.
NAMINGS = {
    "ytid": "{ytid}.wav",
    "y_ytid": "Y{ytid}.wav",
    "ytid_start": "{ytid}_{start_s:.0f}.wav",
    "ytid_start_ms": "{ytid}_{start_ms:.0f}.flac",
    "ytid_start_end": "{ytid}_{start_ms:.0f}_{end_ms:.0f}.wav",
    "ytid_start_end_s": "{ytid}_{start_s:.3f}_{end_s:.3f}.flac",
    "y_ytid_start_end": "Y{ytid}_{start_ms:.0f}_{end_ms:.0f}.wav",
}
LAYOUTS = ("files", "parquet")
PARQUET_FOLDERS = {
    "unbalanced_train": "unbal_train",
    "balanced_train": "bal_train",
    "eval": "eval",
}
PARQUET_ROWS, PARQUET_GROUP_ROWS = 64, 16  # at most, of a file and of its row groups

_ID_LETTERS = string.ascii_letters + string.digits + "-_"


class _Segment(NamedTuple):
    split: int
    index: int
    ytid: str
    start_s: float
    end_s: float
    targets: tuple[int, ...]


def _mid(target: int) -> str:
    """Freebase-like for most classes, `/t/dd00012` for every eighth, as in the real."""
    if target % 8 == 5:
        return f"/t/dd{target:05d}"
    letters = np.base_repr(1_000_003 + 7919 * target, 32).lower()
    return f"/m/0{letters}"


def _targets(seed: int, split: int, index: int, classes: int, rng) -> tuple[int, ...]:
    """One to three classes; the first one balanced, except in unbalanced_train."""
    # Ranked by an order of their own, class frequencies fall like 1 / (rank + 2).
    order = files.stream(seed, 0).permutation(classes)
    weights = 1 / (np.arange(classes) + 2)
    drawn = rng.choice(order, 3, p=weights / weights.sum())
    if split > 0:
        drawn[0] = order[index % classes]
    count = rng.choice((1, 2, 3), p=(0.5, 0.35, 0.15))
    return tuple(sorted({int(k) for k in drawn[:count]}))


def _segment(
    seed: int, split: int, index: int, classes: int, seconds: float
) -> _Segment:
    rng = files.stream(seed, 1, split, index)
    letters = [_ID_LETTERS[k] for k in rng.integers(len(_ID_LETTERS), size=11)]
    # More leading dashes and underscores than by chance: they break careless readers.
    letters[0] = {0: "-", 5: "_"}.get(index % 10, letters[0])
    start_s = 10.0 * int(rng.integers(30) * (rng.random() < 0.7))
    length_s = seconds
    if rng.random() < 0.06:
        start_s, length_s = 0.0, round(seconds * rng.uniform(0.4, 0.95), 3)
    targets = _targets(seed, split, index, classes, rng)
    return _Segment(
        split, index, "".join(letters), start_s, start_s + length_s, targets
    )


def _mixture(
    targets: tuple[int, ...],
    classes: tuple[SoundClass, ...],
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
) -> np.ndarray:
    """The sounds of all targets, each at its own level and onset, recorded together."""
    wave = np.zeros(n_samples)
    for target in targets:
        # Alone, a sound has the clip; among others it may come late or end early.
        share = 1.0 if len(targets) == 1 else rng.uniform(0.6, 1)
        size = int(n_samples * share)
        start = int(rng.integers(n_samples - size + 1))
        gain = 10 ** (rng.uniform(-8, 0) / 20)
        wave[start : start + size] += gain * sounds.dry(
            classes[target], rng, size, sample_rate
        )
    return sounds.record(wave, rng, sample_rate)


def _audio(
    segment: _Segment, *, seed: int, classes: tuple[SoundClass, ...]
) -> tuple[np.ndarray, int]:
    """(samples "t" or "t 2", sample rate)."""
    rng = files.stream(seed, 2, segment.split, segment.index)
    sample_rate = int(rng.choice(SAMPLE_RATES))
    stereo, side = rng.random() < 0.3, rng.uniform(-0.5, 0.5)
    n_samples = round((segment.end_s - segment.start_s) * sample_rate)
    wave = _mixture(segment.targets, classes, rng, n_samples, sample_rate)
    if stereo:
        wave = wave[:, None] * np.minimum([1 + side, 1 - side], 1)
    return wave, sample_rate


def _write_clip(
    segment: _Segment,
    *,
    folder: Path,
    seed: int,
    classes: tuple[SoundClass, ...],
    naming: str,
    subfolders: bool,
) -> None:
    folder = folder / "audio" / (segment.ytid[:2] if subfolders else "")
    folder.mkdir(exist_ok=True)
    audio = _audio(segment, seed=seed, classes=classes)
    files.write_audio(folder / _file_name(segment, naming), *audio)


def _write_parquet(
    job: tuple[str, list[_Segment]],
    *,
    folder: Path,
    seed: int,
    classes: tuple[SoundClass, ...],
) -> None:
    name, segments = job
    rows = []
    for segment in segments:
        file = io.BytesIO()
        audio = _audio(segment, seed=seed, classes=classes)
        soundfile.write(file, *audio, subtype="PCM_24", format="FLAC")
        rows.append(
            {
                "video_id": segment.ytid,
                "audio": {"bytes": file.getvalue(), "path": f"{segment.ytid}.flac"},
                "labels": [_mid(k) for k in segment.targets],
                "human_labels": [_display_name(classes[k]) for k in segment.targets],
            }
        )
    strings = pa.list_(pa.string())
    schema = pa.schema(
        {
            "video_id": pa.string(),
            "audio": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "labels": strings,
            "human_labels": strings,
        }
    )
    group = min(PARQUET_GROUP_ROWS, -(-len(rows) // 2))
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, folder / name, row_group_size=group)


def _parquet_jobs(segments: list[_Segment]) -> list[tuple[str, list[_Segment]]]:
    """(path, segments) of each file; a split has two at least."""
    jobs = []
    for number, split in enumerate(SPLITS):
        own = [s for s in segments if s.split == number]
        count = max(min(2, len(own)), -(-len(own) // PARQUET_ROWS))
        digits = 3 if split == "unbalanced_train" else 2
        jobs += [
            (f"data/{PARQUET_FOLDERS[split]}/{n:0{digits}d}.parquet", own[n::count])
            for n in range(count)
        ]
    return jobs


def _display_name(sound_class: SoundClass) -> str:
    return sound_class.name[0].upper() + sound_class.name[1:]


def _file_name(segment: _Segment, naming: str) -> str:
    return NAMINGS[naming].format(
        **segment._asdict(),
        start_ms=1000 * segment.start_s,
        end_ms=1000 * segment.end_s,
    )


def _write_segments(path: Path, segments: list[_Segment], plain: bool) -> None:
    labels = [k for segment in segments for k in segment.targets]
    head, gap = "YTID,start_seconds,end_seconds,positive_labels\n", ""
    if not plain:
        gap = " "
        head = (
            "# Segments csv created Sun Mar  5 10:54:31 2017\n"
            f"# num_ytids={len(segments)}, num_segs={len(segments)}, "
            f"num_unique_labels={len(set(labels))}, "
            f"num_positive_labels={len(labels)}\n"
            "# YTID, start_seconds, end_seconds, positive_labels\n"
        )
    with open(path, "w", newline="\n") as file:
        file.write(head)
        for segment in sorted(segments, key=lambda s: s.ytid):
            mids = ",".join(sorted(_mid(k) for k in segment.targets))
            times = f"{segment.start_s:.3f},{gap}{segment.end_s:.3f}"
            file.write(f'{segment.ytid},{gap}{times},{gap}"{mids}"\n')


def write(
    folder: Path,
    *,
    seed: int,
    workers: int,
    clips: int = 2000,
    classes: int = len(sounds.CLASSES),
    seconds: float | int = 10.0,
    layout: str = "files",
    naming: str = "y_ytid",
    subfolders: bool = False,
    plain_header: bool = False,
    splits: dict[str, float] | None = None,
    missing: float = 0.0,
) -> None:
    """Writes the twin into `folder`: 16-bit wav, 16 to 48 kHz, mono or stereo.

    A clip holds one to three classes; in `unbalanced_train` their frequencies have a
    long tail, in the other two splits each class leads equally many clips. About 6 %
    of the segments are shorter than `seconds`.

    Args:
        classes: 1 to 527 and a little more, see `sounds.sound_classes`.
        layout: "files", or "parquet": 24-bit FLAC in parquet files, no lists of
            segments, and the three options below are of no matter.
        naming: how the audio files are named, one of `NAMINGS`.
        subfolders: audio lies in folders of the first two characters of its id.
        plain_header: the lists of segments have one line of header, no comments.
        splits: share of the clips per split; the default is `SPLITS`.
        missing: share of the segments that are listed without their audio, as
            videos vanish.

    Raises:
        ValueError: for options out of range; every split needs a clip.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; known: {list(LAYOUTS)}")
    if naming not in NAMINGS:
        raise ValueError(f"unknown naming {naming!r}; known: {sorted(NAMINGS)}")
    splits = SPLITS if splits is None else splits
    if set(splits) != set(SPLITS) or abs(sum(splits.values()) - 1) > 1e-6:
        raise ValueError(
            f"splits is {splits}; need shares of {sorted(SPLITS)} that add up to 1"
        )
    counts = {name: int(clips * splits[name] + 1e-6) for name in SPLITS}
    counts["unbalanced_train"] = clips - counts["balanced_train"] - counts["eval"]
    if min(counts.values()) < 1:
        raise ValueError(f"{clips} clips give {counts}; every split needs one at least")
    if seconds < 0.5:
        raise ValueError(f"seconds is {seconds}; the sounds need at least 0.5")
    if not 0 <= missing < 1:
        raise ValueError(f"missing is {missing}; need a share of at least 0, below 1")
    sound_classes = sounds.sound_classes(classes)
    with open(folder / "class_labels_indices.csv", "w", newline="\n") as file:
        file.write("index,mid,display_name\n")
        for k, sound_class in enumerate(sound_classes):
            file.write(f'{k},{_mid(k)},"{_display_name(sound_class)}"\n')
    chosen: list[_Segment] = []
    for number, (name, count) in enumerate(counts.items()):
        segments = [_segment(seed, number, i, classes, seconds) for i in range(count)]
        if layout == "files":
            _write_segments(folder / f"{name}_segments.csv", segments, plain_header)
        chosen += segments
    chosen = [
        s for s in chosen if files.stream(seed, 3, s.split, s.index).random() >= missing
    ]
    options = {"folder": folder, "seed": seed, "classes": sound_classes}
    if layout == "parquet":
        for name in PARQUET_FOLDERS.values():
            (folder / "data" / name).mkdir(parents=True)
        write_parquet = functools.partial(_write_parquet, **options)
        files.for_each(write_parquet, _parquet_jobs(chosen), workers)
        return
    (folder / "audio").mkdir()
    write_clip = functools.partial(
        _write_clip, **options, naming=naming, subfolders=subfolders
    )
    files.for_each(write_clip, chosen, workers)
