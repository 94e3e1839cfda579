"""The twin of ICBHI 2017: `audio_and_txt_files` and `ICBHI_challenge_train_test.txt`.

A recording is a row of breathing cycles, each annotated with whether crackles and
wheezes were heard in it (Rocha et al., ICBHI 2017). The traps of the real set are
here too: one recording is listed under another device than its file is named after,
one patient is on both sides of the split, and devices differ between the sides.
"""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aemjax.data import sound_families, sounds
from aemjax.data.sounds import SoundClass, breath
from aemjax.data.synthetic import files

# Whole breaths: `cycle_s` is the length of the cycle itself.
CLASSES: tuple[SoundClass, ...] = (
    breath("normal", (1.0, 1.0)),
    breath("crackles", (1.0, 1.0), adds="crackles", window=(0.0, 0.6)),
    breath("wheezes", (1.0, 1.0), adds="wheeze", window=(0.1, 0.9)),
    breath("both", (1.0, 1.0), adds="wheeze and crackles", window=(0.0, 0.9)),
)
# Of each fifteen cycles on one side of the split, so many are of each class: 53, 27,
# 13 and 7 %, as in the real set.
CYCLES = (8, 4, 2, 1)

LOCATIONS = ("Tc", "Al", "Ar", "Pl", "Pr", "Ll", "Lr")
# Acquisition mode, and (sample rate, encoding) of the files.
DEVICES: dict[str, tuple[str, tuple[tuple[int, str], ...]]] = {
    "AKGC417L": ("mc", ((44100, "PCM_24"), (44100, "PCM_16"), (4000, "PCM_16"))),
    "Meditron": ("sc", ((44100, "PCM_16"), (44100, "PCM_24"), (44100, "PCM_32"))),
    "LittC2SE": ("mc", ((44100, "PCM_16"), (10000, "PCM_16"))),
    "Litt3200": ("sc", ((4000, "PCM_16"),)),
}
# One entry is drawn for a patient; the test side never heard LittC2SE.
DEVICES_OF = {
    "train": ("AKGC417L", "AKGC417L", "AKGC417L", "Meditron", "LittC2SE"),
    "test": ("AKGC417L", "AKGC417L", "AKGC417L", "Meditron", "Litt3200"),
}
DIAGNOSES = ("COPD", "COPD", "COPD", "Healthy", "URTI", "Bronchiectasis", "Pneumonia")

MISNAMED, LISTED_AS = "226_1b1_Pl_sc_LittC2SE", "226_1b1_Pl_sc_Meditron"
ON_BOTH_SIDES = 156


class _Recording(NamedTuple):
    number: int
    name: str
    split: str

    @property
    def patient(self) -> int:
        return int(self.name.split("_")[0])


class _Cycle(NamedTuple):
    start_s: float
    end_s: float
    target: int


def _recordings(seed: int) -> Iterator[_Recording]:
    """Yields recordings without end, those with a trap first."""
    start = (MISNAMED, "train"), (f"{ON_BOTH_SIDES}_2b3_Al_mc_AKGC417L", "train")
    start += ((f"{ON_BOTH_SIDES}_5b3_Pr_mc_AKGC417L", "test"),)
    for number, (name, split) in enumerate(start):
        yield _Recording(number, name, split)
    number = len(start)
    for patient in itertools.count(101):
        if patient in (226, ON_BOTH_SIDES):
            continue
        rng = files.stream(seed, 0, patient)
        split = "test" if patient % 5 in (1, 4) else "train"
        device = rng.choice(DEVICES_OF[split])
        for place in rng.permutation(LOCATIONS)[: rng.integers(1, 4)]:
            index = f"{rng.integers(1, 3)}{rng.choice(('b', 'p'))}{rng.integers(1, 5)}"
            name = f"{patient}_{index}_{place}_{DEVICES[device][0]}_{device}"
            yield _Recording(number, name, split)
            number += 1


def _targets(seed: int, split: str) -> Iterator[int]:
    """Yields the classes of one side's cycles; the first four are one of each."""
    each = np.arange(len(CLASSES))
    for block in itertools.count():
        rng = files.stream(seed, 1, int(split == "test"), block)
        yield from rng.permutation(each).tolist()
        yield from rng.permutation(np.repeat(each, np.array(CYCLES) - 1)).tolist()


def _cycles(
    seed: int, number: int, count: int, targets: Iterator[int], seconds: float
) -> list[_Cycle]:
    """A recording's cycles, one after the other, in whole milliseconds."""
    rng = files.stream(seed, 2, number)
    found, start_s = [], round(rng.uniform(0, 0.2), 3)
    for _ in range(count):
        length_s = seconds * rng.uniform(0.7, 1.3) * np.exp(rng.normal(0, 0.35))
        end_s = round(start_s + float(np.clip(length_s, 0.2, 16.0)), 3)
        found.append(_Cycle(start_s, end_s, next(targets)))
        start_s = end_s
    return found


def _write_recording(
    job: tuple[_Recording, list[_Cycle]], *, folder: Path, seed: int
) -> None:
    recording, cycles = job
    rng = files.stream(seed, 3, recording.number)
    centre_hz = 800.0 * 2 ** files.stream(seed, 4, recording.patient).uniform(
        -0.25, 0.25
    )
    # In some, the last cycle is said to end after the file does.
    tail_s = rng.choice((-0.004, 0.05, 0.4))
    wave = np.zeros(int((cycles[-1].end_s + tail_s) * files.SAMPLE_RATE))
    for number, cycle in enumerate(cycles):
        first, last = (round(s * files.SAMPLE_RATE) for s in cycle[:2])
        last = min(last, wave.size)
        length_s = cycle.end_s - cycle.start_s
        region = dict(CLASSES[cycle.target].region, cycle_s=(length_s, length_s))
        wave[first:last] = sound_families.FAMILIES["breath"](
            files.stream(seed, 4, recording.patient, 1),  # the same lungs every time
            files.stream(seed, 3, recording.number, number),
            last - first,
            files.SAMPLE_RATE,
            centre_hz=centre_hz,
            **region,
        )
    wave = sounds.record(wave, rng, files.SAMPLE_RATE)
    formats = DEVICES[recording.name.split("_")[4]][1]
    sample_rate, subtype = formats[rng.integers(len(formats))]
    wave = files.resample(wave, sample_rate)
    path = folder / "audio_and_txt_files" / f"{recording.name}.wav"
    files.write_audio(path, wave, sample_rate, subtype)
    files.write_table(
        path.with_suffix(".txt"),
        [(c.start_s, c.end_s, c.target & 1, c.target >> 1) for c in cycles],
        delimiter="\t",
    )


def _write_patients(folder: Path, seed: int, patients: list[int]) -> None:
    diagnoses, people = [], []
    for patient in patients:
        rng = files.stream(seed, 5, patient)
        diagnoses.append((patient, rng.choice(DIAGNOSES)))
        sex = rng.choice(("F", "M"))
        if rng.random() < 0.4:  # of children, weight and height
            body = "NA", rng.integers(5, 50), rng.integers(60, 160)
            people.append((patient, rng.integers(1, 18), sex, *body))
        else:  # of adults, the body mass index
            body = round(rng.uniform(17, 45), 2), "NA", "NA"
            people.append((patient, rng.integers(18, 90), sex, *body))
    files.write_table(folder / "patient_diagnosis.csv", [("ID", "CLASS"), *diagnoses])
    files.write_table(folder / "demographic_info.txt", [[], *people], delimiter=" ")


def write(
    folder: Path,
    *,
    seed: int,
    workers: int,
    clips: int = 300,
    seconds: float | int = 2.5,
) -> None:
    """Writes the twin into `folder`: `clips` cycles in recordings of 4 to 10.

    Cycles last about `seconds`, 0.2 to 16 s. Files have 4, 10 or 44.1 kHz and 16, 24
    or 32 bit.

    Raises:
        ValueError: if `clips` is below 30, where a side may lack a class, or `seconds`
            is not 0.3 to 8.
    """
    if clips < 30:
        raise ValueError(
            f"clips is {clips}; need at least 30 cycles, for all classes on both sides"
        )
    if not 0.3 <= seconds <= 8:
        raise ValueError(f"seconds is {seconds}; cycles last about 0.3 to 8")
    targets = {split: _targets(seed, split) for split in DEVICES_OF}
    jobs, left = [], clips
    for recording in _recordings(seed):
        count = min(int(files.stream(seed, 6, recording.number).integers(4, 11)), left)
        cycles = _cycles(
            seed, recording.number, count, targets[recording.split], seconds
        )
        jobs.append((recording, cycles))
        left -= count
        if not left:
            break
    (folder / "audio_and_txt_files").mkdir()
    listed = [
        (LISTED_AS if r.name == MISNAMED else r.name, r.split)
        for r, _ in sorted(jobs, key=lambda job: job[0].name)
    ]
    files.write_table(
        folder / "ICBHI_challenge_train_test.txt",
        listed,
        delimiter="\t",
        line_end="\r\n",
    )
    _write_patients(folder, seed, sorted({r.patient for r, _ in jobs}))
    files.for_each(
        functools.partial(_write_recording, folder=folder, seed=seed), jobs, workers
    )
