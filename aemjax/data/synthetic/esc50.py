"""The twin of ESC-50: `meta/esc50.csv` and `audio/{fold}-{clip}-{take}-{target}.wav`.

Its classes come from the same families as the AudioSet twin's, in other regions:
rates between those, other rhythms, other contours.
"""

import functools
from pathlib import Path
from typing import NamedTuple

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
FOLDS = 5

_MID_S, _LONG_S = (0.25, 0.4), (0.6, 1.0)
_MID_HZ, _QUICK_HZ, _ROUGH_HZ = (5.3, 7.0), (13.0, 17.0), (35.0, 48.0)
_CYCLE_S = (0.75, 1.0)
_SHALLOW, _DEEP = (0.1, 0.2), (0.5, 0.8)


# Ordered so that every prefix mixes the families; the first ten are the twin's
# ESC-10, chosen in groups that differ in their course in time alone.
CLASSES: tuple[SoundClass, ...] = sounds.with_centres(
    (
        glide("rising_call", "rising", _MID_S),
        glide("falling_call", "falling", _MID_S),
        tremolo("quick_flutter", "sine", _QUICK_HZ),
        tremolo("plucked_string", "struck", _MID_HZ),
        warble("vibrato", "sine", _MID_HZ, _SHALLOW),
        warble("ambulance", "square", (2.5, 3.5), _DEEP),
        knocks("ticking", "even", (4.0, 5.2)),
        knocks("limping_steps", "limping", (3.2, 4.4)),
        bursts("puffing", "struck", "even", (3.0, 4.2)),
        bursts("reversed_puffing", "swelling", "even", (3.0, 4.2)),
        glide("arching_call", "arching", _MID_S),
        glide("dipping_call", "dipping", _MID_S),
        tremolo("bowed_swells", "swelling", _MID_HZ),
        tremolo("chopped_hum", "gate", _QUICK_HZ),
        warble("wide_vibrato", "sine", _MID_HZ, _DEEP),
        warble("rising_alarm", "up", (1.5, 2.2), _DEEP),
        warble("falling_alarm", "down", (1.5, 2.2), _DEEP),
        knocks("fourfold_knocks", "fourfold", (3.4, 4.6)),
        knocks("marching", "even", (3.0, 4.0), (1.0, 0.35)),
        crackle("frying", "random", (110.0, 170.0)),
        breath("breathing", _CYCLE_S),
        breath("wheezing_throughout", _CYCLE_S, adds="wheeze", window=(0.03, 0.9)),
        glide("late_rising_moan", "late rising", _LONG_S),
        glide("early_rising_moan", "early rising", _LONG_S),
        tremolo("rough_drone", "sine", _ROUGH_HZ),
        tremolo("slow_pulse", "sine", _MID_HZ),
        warble("insect_warble", "sine", _QUICK_HZ, _SHALLOW),
        warble("wide_insect_warble", "sine", _QUICK_HZ, _DEEP),
        knocks("dropped_ball", "accelerating", (7.0, 9.0)),
        knocks("winding_down", "slowing", (7.0, 9.0)),
        bursts("paired_puffs", "struck", "paired", (2.6, 3.6)),
        bursts("reversed_paired_puffs", "swelling", "paired", (2.6, 3.6)),
        crackle("embers", "random", (22.0, 36.0)),
        breath("panting", (0.3, 0.42)),
        breath("crackling_exhalation", _CYCLE_S, adds="crackles", window=(0.5, 0.85)),
        glide("late_falling_moan", "late falling", _LONG_S),
        glide("early_falling_moan", "early falling", _LONG_S),
        glide("two_notes_up", "two steps up", _MID_S),
        glide("two_notes_down", "two steps down", _MID_S),
        warble("wailing", "triangle", (0.9, 1.4), _DEEP),
        warble("trill", "square", _QUICK_HZ, _SHALLOW),
        knocks("waltzing_knocks", "even", (4.5, 5.5), (1.0, 0.3, 0.3)),
        knocks("hurried_pairs", "paired", (6.0, 8.0)),
        bursts("tripled_puffs", "struck", "tripled", (3.0, 4.0)),
        crackle("popping_clusters", "clustered", (80.0, 120.0)),
        breath("long_inhalation", _CYCLE_S, inhale=0.65),
        breath("short_inhalation", _CYCLE_S, inhale=0.2),
        glide("hopping_notes", "hopping", _MID_S),
        glide("ducking_notes", "ducking", _MID_S),
        tremolo("chopped_pulse", "gate", _MID_HZ),
    )
)


class _Clip(NamedTuple):
    fold: int
    target: int
    source: int  # number of the source within its fold and class
    take: int


def _sources(seed: int, fold: int, target: int, clips: int) -> list[_Clip]:
    """Splits the clips of one fold and class into sources of one to four takes."""
    rng, found = files.stream(seed, 0, fold, target), []
    source = 0
    while len(found) < clips:
        takes = range(int(rng.choice((1, 2, 3, 4), p=(0.4, 0.3, 0.2, 0.1))))
        found += [_Clip(fold, target, source, take) for take in takes]
        source += 1
    return found[:clips]


def _names(clip: _Clip, seed: int) -> tuple[str, str, str]:
    """File name, src_file and take letter."""
    number = (clip.source * 50 + clip.target) * FOLDS + clip.fold - 1
    src_file = files.six_digits(number, seed)
    take = "ABCD"[clip.take]
    return f"{clip.fold}-{src_file}-{take}-{clip.target}.wav", src_file, take


def _write_clip(clip: _Clip, *, folder: Path, seed: int, n_samples: int) -> None:
    key = (seed, 1, clip.fold, clip.target, clip.source)
    rng = files.stream(*key, clip.take + 1)
    wave = sounds.sound(
        clip.target,
        rng,
        n_samples,
        SAMPLE_RATE,
        classes=CLASSES,
        source_rng=files.stream(*key, 0),
    )
    # As in the real set, some recordings are shorter and padded with silence.
    if rng.random() < 0.1:
        wave[int(n_samples * rng.uniform(0.6, 0.95)) :] = 0
    files.write_audio(folder / "audio" / _names(clip, seed)[0], wave, SAMPLE_RATE)


def write(
    folder: Path,
    *,
    seed: int,
    workers: int,
    clips: int = 2000,
    classes: int = 50,
    seconds: float | int = 5.0,
    spreadsheet: bool = False,
) -> None:
    """Writes the twin into `folder`: 44.1 kHz mono, five balanced folds.

    Clips of one source (`src_file`) have its pitch, timbre and recording chain in
    common and are in one fold. With fewer `classes`, the first ones; the first ten
    are flagged `esc10`. With `spreadsheet`, the csv is what spreadsheet programs make
    of it: a byte order mark, CRLF, `TRUE` and `FALSE`.

    Raises:
        ValueError: if `clips` is not a positive multiple of 5 * `classes`, or
            `classes` or `seconds` are out of range.
    """
    if not 2 <= classes <= len(CLASSES):
        raise ValueError(f"classes is {classes}; the ESC-50 twin has 2 to 50")
    if clips < 1 or clips % (classes * FOLDS):
        raise ValueError(
            f"clips is {clips}; every fold has equally many of each class, so it must "
            f"be a positive multiple of {FOLDS} folds * {classes} classes = "
            f"{FOLDS * classes}"
        )
    if seconds < 0.5:
        raise ValueError(f"seconds is {seconds}; the sounds need at least 0.5")
    chosen = [
        clip
        for fold in range(1, FOLDS + 1)
        for target in range(classes)
        for clip in _sources(seed, fold, target, clips // (classes * FOLDS))
    ]
    (folder / "audio").mkdir()
    rows = []
    for clip in chosen:
        name, src_file, take = _names(clip, seed)
        category, esc10 = CLASSES[clip.target].name, str(clip.target < 10)
        if spreadsheet:
            esc10 = esc10.upper()
        rows.append((name, clip.fold, clip.target, category, esc10, src_file, take))
    header = "filename,fold,target,category,esc10,src_file,take".split(",")
    files.write_table(
        folder / "meta" / "esc50.csv",
        [header, *sorted(rows)],
        line_end="\r\n" if spreadsheet else "\n",
        encoding="utf-8-sig" if spreadsheet else "utf-8",
    )
    write_clip = functools.partial(
        _write_clip, folder=folder, seed=seed, n_samples=round(seconds * SAMPLE_RATE)
    )
    files.for_each(write_clip, chosen, workers)
