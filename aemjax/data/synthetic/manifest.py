"""A twin of somebody's own set: `set.csv` and the recordings that it names.

The csv has the columns path, label, fold, group, start_s and end_s. Some recordings are
a clip each; others hold several, of different classes, and the csv says from when to
when.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aemjax.data import sounds
from aemjax.data.sounds import (
    SoundClass,
    bursts,
    crackle,
    glide,
    knocks,
    tremolo,
    warble,
)
from aemjax.data.synthetic import files

FOLDS = 5

# Names as people give them: blanks, capitals, a comma, letters beyond ASCII.
CLASSES: tuple[SoundClass, ...] = sounds.with_centres(
    (
        glide("Kookaburra", "early rising", (0.19, 0.24)),
        knocks("woodpecker, drumming", "accelerating", (10.0, 14.0)),
        tremolo("Grille des bois été", "gate", (20.0, 28.0)),
        warble("frog chorus", "sine", (1.8, 2.6), (0.3, 0.45)),
        bursts("owl", "swelling", "limping", (2.6, 3.4)),
        crackle("rain", "random", (600.0, 900.0)),
    )
)
PARTS = (1, 3, 2, 1, 4, 1, 2)  # clips in a recording, over and over
SAMPLE_RATES = (16000, 44100, 48000, 32000)


class _Clip(NamedTuple):
    recording: int
    part: int
    start_s: float
    end_s: float
    targets: tuple[int, ...]

    @property
    def path(self) -> str:
        return f"recordings/{self.recording:04d}.{('wav', 'flac')[self.recording % 2]}"

    @property
    def times(self) -> tuple[float, float] | tuple[str, str]:
        """Start and end for the csv; empty for all of a recording."""
        whole = PARTS[self.recording % len(PARTS)] == 1
        return ("", "") if whole else (self.start_s, self.end_s)


def _recording(
    seed: int, number: int, seconds: float, multi_label: bool
) -> list[_Clip]:
    """The clips of a recording: one of all of it, or two to four parts with gaps."""
    rng = files.stream(seed, 0, number)
    parts, found, start_s = PARTS[number % len(PARTS)], [], 0.0
    for part in range(parts):
        if parts > 1:
            start_s = round(start_s + rng.uniform(0.05, 0.3), 3)
        end_s = round(start_s + seconds * rng.uniform(0.8, 1.2), 3)
        several = 1 + int(multi_label and rng.random() < 0.3)
        targets = rng.choice(len(CLASSES), several, replace=False)
        targets = tuple(sorted(targets.tolist()))
        found.append(_Clip(number, part, start_s, end_s, targets))
        start_s = end_s
    return found


def _write_recording(clips: list[_Clip], *, folder: Path, seed: int) -> None:
    number = clips[0].recording
    own = files.stream(seed, 1, number)
    tail_s = 0.2 if clips[0].times[0] else 0.0
    wave = np.zeros(round((clips[-1].end_s + tail_s) * files.SAMPLE_RATE))
    for clip in clips:
        first, last = (round(s * files.SAMPLE_RATE) for s in (clip.start_s, clip.end_s))
        for target in clip.targets:
            wave[first:last] += sounds.dry(
                CLASSES[target],
                files.stream(seed, 2, number, clip.part, target),
                last - first,
                files.SAMPLE_RATE,
            )
    wave = sounds.record(wave, own, files.SAMPLE_RATE)
    sample_rate = int(own.choice(SAMPLE_RATES))
    wave = files.resample(wave, sample_rate)
    files.write_audio(folder / clips[0].path, wave, sample_rate)


def write(
    folder: Path,
    *,
    seed: int,
    workers: int,
    clips: int = 120,
    seconds: float | int = 2.0,
    multi_label: bool = False,
) -> None:
    """Writes the set into `folder`: six classes, five folds, wav and flac files.

    A recording is a group and in one fold. Clips last about `seconds`. With
    `multi_label` three in ten have two labels, separated by `;`.

    Raises:
        ValueError: if `clips` is below 8, where a fold has none, or `seconds` is below
            0.5.
    """
    if clips < 8:
        raise ValueError(f"clips is {clips}; need at least 8, for every fold")
    if seconds < 0.5:
        raise ValueError(f"seconds is {seconds}; the sounds need at least 0.5")
    recordings: list[list[_Clip]] = []
    left = clips
    while left:
        found = _recording(seed, len(recordings), seconds, multi_label)
        recordings.append(found[:left])
        left -= len(recordings[-1])
    rows = [
        (
            clip.path,
            ";".join(CLASSES[target].name for target in clip.targets),
            clip.recording % FOLDS + 1,
            f"site {clip.recording}",
            *clip.times,
        )
        for recording in recordings
        for clip in recording
    ]
    header = ("path", "label", "fold", "group", "start_s", "end_s")
    files.write_table(folder / "set.csv", [header, *rows])
    (folder / "recordings").mkdir()
    files.for_each(
        functools.partial(_write_recording, folder=folder, seed=seed),
        recordings,
        workers,
    )
