"""The twin of TAU Urban Acoustic Scenes 2020 Mobile, development set.

`meta.csv`, `evaluation_setup/fold1_{train,test,evaluate}.csv`, all with tabs, and
`audio/<scene>-<city>-<location>-<segment>-<device>.wav`. As in the real set (Heittola
et al., DCASE 2020) several devices record one segment at once, a location is on one
side of the split, and what devices s4 to s6 recorded elsewhere is on neither.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.signal

from aemjax.data import sounds
from aemjax.data.sounds import (
    SoundClass,
    breath,
    bursts,
    crackle,
    glide,
    knocks,
    tremolo,
    warble,
)
from aemjax.data.synthetic import files

SAMPLE_RATE = 44100
CITIES = (
    *("barcelona", "helsinki", "lisbon", "london", "lyon"),
    *("milan", "paris", "prague", "stockholm", "vienna"),
)

CLASSES: tuple[SoundClass, ...] = sounds.with_centres(
    (
        glide("airport", "two steps down", (0.42, 0.55)),
        tremolo("bus", "sine", (4.7, 5.2)),
        warble("metro", "triangle", (2.2, 3.0), (0.5, 0.8)),
        warble("metro_station", "up", (2.4, 3.2), (0.5, 0.8)),
        glide("park", "arching", (0.19, 0.24)),
        knocks("public_square", "random", (6.0, 9.0)),
        bursts("shopping_mall", "swelling", "paired", (4.2, 5.4)),
        knocks("street_pedestrian", "limping", (4.8, 6.0)),
        breath("street_traffic", (2.2, 2.8)),
        crackle("tram", "clustered", (55.0, 75.0)),
    )
)

# (low, high) edge of the band in Hz, gain in dB: gentle slopes on top of device a's.
DEVICES: dict[str, tuple[float, float, float]] = {
    "a": (10.0, 20000.0, 0.0),
    "b": (120.0, 9000.0, -6.0),
    "c": (200.0, 12000.0, -3.0),
    "s1": (90.0, 6000.0, -4.0),
    "s2": (250.0, 8000.0, -2.0),
    "s3": (60.0, 4500.0, -8.0),
    "s4": (300.0, 7000.0, -5.0),
    "s5": (150.0, 3500.0, -7.0),
    "s6": (400.0, 10000.0, -3.0),
}
UNSEEN = ("s4", "s5", "s6")


class _Row(NamedTuple):
    target: int
    unit: int  # three rows of one location
    segment: int
    device: str

    @property
    def location(self) -> int:
        return self.unit * len(CLASSES) + self.target

    @property
    def split(self) -> str:
        if self.unit % 4 == 1:
            return "evaluate"
        return "neither" if self.device in UNSEEN else "train"


def _rows(target: int, count: int) -> list[_Row]:
    """The first `count` rows of a scene, location after location.

    To be trained on: a segment by device a and one by it and another; to be evaluated
    on: a segment by three devices. The devices take turns.
    """
    devices, found = list(DEVICES), []
    for unit in range(-(-count // 3)):
        turn = target + unit
        if unit % 4 == 1:
            recorded = [(0, devices[3 * (turn % 3) + n]) for n in range(3)]
        else:
            recorded = [(0, "a"), (1, "a"), (1, devices[1 + turn % 8])]
        found += [_Row(target, unit, *one) for one in recorded]
    return found[:count]


def _identifier(row: _Row, seed: int) -> str:
    city = CITIES[files.stream(seed, 0, row.target, row.unit).integers(len(CITIES))]
    return f"{city}-{1000 + row.location}"


def _name(row: _Row, seed: int) -> str:
    scene = CLASSES[row.target].name
    segment = 40000 + 2 * row.location + row.segment
    return f"audio/{scene}-{_identifier(row, seed)}-{segment}-{row.device}.wav"


def _through(wave: np.ndarray, device: str) -> np.ndarray:
    low_hz, high_hz, gain_db = DEVICES[device]
    band = scipy.signal.butter(
        1, (low_hz, high_hz), "bandpass", fs=SAMPLE_RATE, output="sos"
    )
    return scipy.signal.sosfilt(band, wave) * 10 ** (gain_db / 20)


def _write_segment(
    rows: list[_Row], *, folder: Path, seed: int, n_samples: int
) -> None:
    """One segment as all of its devices heard it."""
    key = (seed, 1, rows[0].target, rows[0].unit)
    wave = sounds.sound(
        rows[0].target,
        files.stream(*key, rows[0].segment + 1),
        n_samples,
        files.SAMPLE_RATE,
        classes=CLASSES,
        source_rng=files.stream(*key, 0),
    )
    wave = files.resample(wave, SAMPLE_RATE)
    for row in rows:
        heard = np.clip(_through(wave, row.device), -1, 1)
        files.write_audio(folder / _name(row, seed), heard, SAMPLE_RATE, "PCM_24")


def write(
    folder: Path,
    *,
    seed: int,
    workers: int,
    clips: int = 240,
    seconds: float | int = 10.0,
) -> None:
    """Writes the twin into `folder`: 44.1 kHz mono, 24 bit, nine devices.

    A quarter of the rows of `meta.csv` is evaluated on, by all devices; most others
    are trained on, without s4 to s6. `fold1_test.csv` and `fold1_evaluate.csv` have
    CRLF line ends, the others LF.

    Raises:
        ValueError: if `clips` is below 60, six of each scene, or `seconds` below 0.5.
    """
    if clips < 60:
        raise ValueError(
            f"clips is {clips}; need at least 60, for both lists and all devices"
        )
    if seconds < 0.5:
        raise ValueError(f"seconds is {seconds}; the sounds need at least 0.5")
    rows = [
        row
        for target, count in enumerate(files.shares([1] * len(CLASSES), clips))
        for row in _rows(target, count)
    ]
    listed = sorted(
        (_name(row, seed), CLASSES[row.target].name, row.split, row) for row in rows
    )
    files.write_table(
        folder / "meta.csv",
        [("filename", "scene_label", "identifier", "source_label")]
        + [
            (f, scene, _identifier(row, seed), row.device)
            for f, scene, _, row in listed
        ],
        delimiter="\t",
    )
    for name, split, columns, line_end in (
        ("train", "train", ("filename", "scene_label"), "\n"),
        ("test", "evaluate", ("filename",), "\r\n"),
        ("evaluate", "evaluate", ("filename", "scene_label"), "\r\n"),
    ):
        files.write_table(
            folder / "evaluation_setup" / f"fold1_{name}.csv",
            [columns] + [row[: len(columns)] for row in listed if row[2] == split],
            delimiter="\t",
            line_end=line_end,
        )
    (folder / "audio").mkdir()
    segments: dict[tuple, list[_Row]] = {}
    for row in rows:
        segments.setdefault(row[:3], []).append(row)
    write_segment = functools.partial(
        _write_segment,
        folder=folder,
        seed=seed,
        n_samples=round(seconds * files.SAMPLE_RATE),
    )
    files.for_each(write_segment, list(segments.values()), workers)
