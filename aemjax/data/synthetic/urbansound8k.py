"""The twin of UrbanSound8K: `metadata/UrbanSound8K.csv` and `audio/fold1..fold10/`.

As in the real set, slices of one recording share its file format and its fold, and
formats are of every kind that reaches Freesound (Salamon et al., ACM MM 2014).
"""

import functools
from pathlib import Path
from typing import NamedTuple

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

FOLDS = 10
SHORTEST_S, HOP_S = 0.05, 0.5

CLASSES: tuple[SoundClass, ...] = sounds.with_centres(
    (
        tremolo("air_conditioner", "sine", (17.0, 20.0)),
        tremolo("car_horn", "gate", (1.6, 2.4)),
        glide("children_playing", "hopping", (0.18, 0.25)),
        bursts("dog_bark", "struck", "paired", (3.8, 5.0)),
        warble("drilling", "sine", (28.0, 35.0), (0.3, 0.5)),
        tremolo("engine_idling", "struck", (17.0, 20.0)),
        bursts("gun_shot", "struck", "even", (0.9, 1.4)),
        knocks("jackhammer", "even", (9.0, 12.0)),
        warble("siren", "triangle", (0.4, 0.7), (0.5, 0.8)),
        crackle("street_music", "clustered", (14.0, 22.0)),
    )
)
# Slices of each class in the real set, which the twin's are in proportion to.
SLICES = (1000, 429, 1000, 1000, 1000, 1000, 374, 1000, 929, 1000)

# (sample rate, channels, encoding); each is equally likely for a recording.
FORMATS = (
    (44100, 2, "PCM_16"),
    (44100, 1, "PCM_16"),
    (44100, 2, "PCM_24"),
    (48000, 2, "PCM_16"),
    (48000, 2, "PCM_24"),
    (48000, 1, "PCM_24"),
    (44100, 1, "MS_ADPCM"),
    (44100, 2, "IMA_ADPCM"),
    (96000, 2, "PCM_24"),
    (48000, 2, "FLOAT"),
    (44100, 2, "PCM_32"),
    (22050, 1, "PCM_16"),
    (16000, 1, "PCM_16"),
    (11025, 1, "PCM_U8"),
    (8000, 1, "PCM_U8"),
    (8000, 1, "PCM_16"),
)


class _Slice(NamedTuple):
    target: int
    recording: int  # number of the recording within its class
    occurrence: int
    slice: int
    start_s: float
    end_s: float
    format: tuple[int, int, str]

    @property
    def fold(self) -> int:
        return (self.recording + self.target) % FOLDS + 1


def _slices(seed: int, target: int, count: int, seconds: float) -> list[_Slice]:
    """The first `count` slices of a class, recording after recording.

    Long sounds are cut into slices that overlap; short ones are a slice each.
    """
    found: list[_Slice] = []
    recording = 0
    while len(found) < count:
        rng = files.stream(seed, 0, target, recording)
        # Short ones first, so that a small twin has every class in every fold.
        few = recording < FOLDS
        slices = range(int(rng.choice((1, 1, 1, 2) if few else (1, 2, 3, 4, 6))))
        kind = FORMATS[rng.integers(len(FORMATS))]
        start_s, cut = round(rng.uniform(0, 30), 6), rng.random() < 0.7
        for number in slices:
            length_s = seconds
            if cut:
                number, begin_s = (0, number), start_s + HOP_S * number
            else:
                length_s = SHORTEST_S * (seconds / SHORTEST_S) ** rng.random()
                number, begin_s = (number, 0), start_s + seconds * number
            end_s = round(begin_s + length_s, 6)
            found.append(
                _Slice(target, recording, *number, round(begin_s, 6), end_s, kind)
            )
        recording += 1
    return found[:count]


def _fs_id(clip: _Slice, seed: int) -> str:
    return files.six_digits(clip.recording * len(CLASSES) + clip.target, seed)


def _name(clip: _Slice, seed: int) -> str:
    fs_id = _fs_id(clip, seed)
    return f"{fs_id}-{clip.target}-{clip.occurrence}-{clip.slice}.wav"


def _write_clip(clip: _Slice, *, folder: Path, seed: int) -> None:
    key = (seed, 1, clip.target, clip.recording)
    rng = files.stream(*key, clip.occurrence + 1, clip.slice)
    sample_rate, channels, subtype = clip.format
    wave = sounds.sound(
        clip.target,
        rng,
        round((clip.end_s - clip.start_s) * files.SAMPLE_RATE),
        files.SAMPLE_RATE,
        classes=CLASSES,
        source_rng=files.stream(*key, 0, 0),
    )
    wave = files.resample(wave, sample_rate)
    if channels == 2:
        wave = files.pan(wave, rng)
    path = folder / "audio" / f"fold{clip.fold}" / _name(clip, seed)
    files.write_audio(path, wave, sample_rate, subtype)


def write(
    folder: Path,
    *,
    seed: int,
    workers: int,
    clips: int = 400,
    seconds: float | int = 4.0,
) -> None:
    """Writes the twin into `folder`: 8 to 96 kHz, mono or stereo, in many encodings.

    Slices last `seconds`, or anything down to 0.05 s. ADPCM holds whole blocks, so
    such files are a little longer than the csv says.

    Raises:
        ValueError: if `clips` is so few that a class has none, or `seconds` is below
            0.5.
    """
    if seconds < 0.5:
        raise ValueError(f"seconds is {seconds}; the sounds need at least 0.5")
    counts = files.shares(SLICES, clips)
    if min(counts) < 1:
        raise ValueError(f"clips is {clips}; every class needs one, so at least 10")
    chosen = [
        clip
        for target, count in enumerate(counts)
        for clip in _slices(seed, target, count, seconds)
    ]
    header = "slice_file_name,fsID,start,end,salience,fold,classID,class".split(",")
    rows = []
    for clip in chosen:
        salience = 1 + int(files.stream(seed, 2, *clip[:4]).random() < 0.35)
        row = (_name(clip, seed), _fs_id(clip, seed), clip.start_s, clip.end_s)
        rows.append((*row, salience, clip.fold, clip.target, CLASSES[clip.target].name))
    files.write_table(folder / "metadata" / "UrbanSound8K.csv", [header, *sorted(rows)])
    for fold in range(1, FOLDS + 1):
        (folder / "audio" / f"fold{fold}").mkdir(parents=True)
    files.for_each(
        functools.partial(_write_clip, folder=folder, seed=seed), chosen, workers
    )
