"""The twin of the DCASE 2013 scenes: `scenes_stereo` and `scenes_stereo_testset`.

Binaural recordings (Stowell et al., IEEE Transactions on Multimedia 2015): those of the
first folder are named after their scene, those of the second are numbered and named by
the key, `dcase2013_task1_filenamekey.csv`.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

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
FOLDERS = ("scenes_stereo", "scenes_stereo_testset")
KEY = "dcase2013_task1_filenamekey.csv"
EAR_DELAY_S = 0.0006

CLASSES: tuple[SoundClass, ...] = sounds.with_centres(
    (
        tremolo("bus", "struck", (7.2, 8.0)),
        warble("busystreet", "down", (2.4, 3.2), (0.5, 0.8)),
        knocks("office", "paired", (4.7, 5.7)),
        glide("openairmarket", "ducking", (0.18, 0.25)),
        glide("park", "dipping", (0.19, 0.24)),
        breath("quietstreet", (2.2, 2.8), inhale=0.2),
        crackle("restaurant", "random", (18.0, 21.0)),
        bursts("supermarket", "swelling", "even", (2.3, 2.9)),
        tremolo("tube", "swelling", (7.2, 8.0)),
        warble("tubestation", "square", (0.6, 1.0), (0.5, 0.8)),
    )
)


class _Clip(NamedTuple):
    target: int
    number: int  # within the scene, of both folders

    @property
    def test(self) -> bool:
        return self.number % 2 == 1

    @property
    def scene_name(self) -> str:
        """As files of the first folder are named: two digits, not all of them."""
        return f"{CLASSES[self.target].name}{self.number + 1:02d}.wav"


def _path(clip: _Clip, seed: int) -> str:
    if not clip.test:
        return f"{FOLDERS[0]}/{clip.scene_name}"
    order = files.stream(seed, 0, clip.number).permutation(len(CLASSES))
    number = clip.number // 2 * len(CLASSES) + order[clip.target] + 1
    return f"{FOLDERS[1]}/{number:03d}.wav"


def _binaural(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Both ears "t 2": one hears it later, and up to 6 dB quieter."""
    delay = int(rng.uniform(0, EAR_DELAY_S) * SAMPLE_RATE)
    far = np.pad(wave, (delay, 0))[: wave.size] * rng.uniform(0.5, 1)
    ears = (wave, far) if rng.random() < 0.5 else (far, wave)
    return np.stack(ears, 1)


def _write_clip(clip: _Clip, *, folder: Path, seed: int, n_samples: int) -> None:
    rng = files.stream(seed, 1, *clip)
    wave = sounds.sound(clip.target, rng, n_samples, files.SAMPLE_RATE, classes=CLASSES)
    wave = _binaural(files.resample(wave, SAMPLE_RATE), rng)
    files.write_audio(folder / _path(clip, seed), wave, SAMPLE_RATE)


def write(
    folder: Path,
    *,
    seed: int,
    workers: int,
    clips: int = 200,
    seconds: float | int = 5.0,
) -> None:
    """Writes the twin into `folder`: 44.1 kHz stereo, half of each scene per folder.

    The real clips last 30 s.

    Raises:
        ValueError: if `clips` is below 20, a scene each per folder, or above 990, where
            two digits end, or `seconds` is below 0.5.
    """
    if not 2 * len(CLASSES) <= clips <= 99 * len(CLASSES):
        raise ValueError(
            f"clips is {clips}; need 20 (each scene in both folders) to 990"
        )
    if seconds < 0.5:
        raise ValueError(f"seconds is {seconds}; the sounds need at least 0.5")
    chosen = [
        _Clip(target, number)
        for target, count in enumerate(files.shares([1] * len(CLASSES), clips))
        for number in range(count)
    ]
    key = sorted(
        (Path(_path(clip, seed)).name, CLASSES[clip.target].name, clip.scene_name)
        for clip in chosen
        if clip.test
    )
    files.write_table(
        folder / KEY,
        [("fold", "testfile", "scene", "filename")]
        + [(f"fold{n % 5 + 1}", *row) for n, row in enumerate(key)],
    )
    for name in FOLDERS:
        (folder / name).mkdir()
    write_clip = functools.partial(
        _write_clip,
        folder=folder,
        seed=seed,
        n_samples=round(seconds * files.SAMPLE_RATE),
    )
    files.for_each(write_clip, chosen, workers)
