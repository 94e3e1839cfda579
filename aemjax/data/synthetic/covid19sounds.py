"""The twin of the Cambridge COVID-19 Sounds release of 2020: ten group folders.

Android submissions are `<group>/cough/cough_<UID>_<ms>.wav` and
`<group>/breath/breaths_<UID>_<ms>.wav`, paired by `android_breath2cough.json`; those of
the web are folders with `audio_file_cough.wav` and `audio_file_breathe.wav` (Brown et
al., KDD 2020). Beside them lie augmented and mono copies that are no examples.
"""

import functools
import json
import re
import string
from pathlib import Path
from typing import NamedTuple

from aemjax.data import sounds
from aemjax.data.sounds import SoundClass, breath, bursts
from aemjax.data.synthetic import files

# Submissions of each group, each a cough and a breath. Added up as the published
# tasks do, they are 141 of covid and 298 healthy without symptoms, then 54, 32 and 20.
GROUPS: dict[str, int] = {
    "covidandroidnocough": 60,
    "covidandroidwithcough": 42,
    "covidwebnocough": 27,
    "covidwebwithcough": 12,
    "healthyandroidnosymp": 138,
    "healthyandroidwithcough": 10,
    "healthywebnosymp": 160,
    "healthywebwithcough": 22,
    "asthmaandroidwithcough": 8,
    "asthmawebwithcough": 12,
}
AT_LEAST = 3  # submissions of each group

# What differs is the course in time: how coughs follow each other, how fast breaths
# are and which part of one is long. The pitch is a hint.
SOUNDS: dict[tuple[str, str], SoundClass] = {
    ("covid", "cough"): bursts("covid cough", "struck", "tripled", (2.1, 2.5)),
    ("covid", "breath"): breath("covid breath", (0.62, 0.74)),
    ("healthy", "cough"): bursts("healthy cough", "struck", "limping", (1.7, 2.1)),
    ("healthy", "breath"): breath("healthy breath", (1.3, 1.45)),
    ("asthma", "cough"): bursts("asthma cough", "swelling", "paired", (2.1, 2.5)),
    ("asthma", "breath"): breath("asthma breath", (1.3, 1.45), inhale=0.25),
}
CENTRES_HZ = {"cough": (1150.0, 560.0), "breath": (980.0, 650.0)}  # covid, the others

SAMPLE_RATES = (44100, 44100, 48000, 16000)
AUGMENTED = ("healthyandroidwithcough", "healthywebwithcough") + (
    *("asthmaandroidwithcough", "asthmawebwithcough"),
)


class _Submission(NamedTuple):
    group: int  # number in GROUPS
    user: int  # number in the group
    take: int  # number of the user's submission

    @property
    def folder(self) -> str:
        return list(GROUPS)[self.group]

    @property
    def android(self) -> bool:
        return "android" in self.folder


def _submissions(group: int, count: int) -> list[_Submission]:
    """Android users submit 2, 1, 4, 1, 3, 1, 2, ... times, those of the web once."""
    found, user = [], 0
    android = _Submission(group, 0, 0).android
    while len(found) < count:
        takes = (2, 1, 4, 1, 3, 1)[user % 6] if android else 1
        found += [_Submission(group, user, take) for take in range(takes)]
        user += 1
    return found[:count]


def _paths(submission: _Submission, seed: int) -> dict[str, str]:
    """{"cough": path, "breath": path}, below the folder of the set."""
    who = files.stream(seed, 0, submission.group, submission.user)
    when = files.stream(seed, 1, *submission)
    ms = 1_586_000_000_000 + int(when.integers(4_000_000_000))
    if submission.android:
        letters = list(string.ascii_letters + string.digits)
        uid = "".join(who.choice(letters, 10))
        later = ms + int(when.integers(20, 60))
        return {
            "cough": f"{submission.folder}/cough/cough_{uid}_{later}.wav",
            "breath": f"{submission.folder}/breath/breaths_{uid}_{ms}.wav",
        }
    day, hour, minute, second = (
        int(when.integers(low, high))
        for low, high in ((7, 30), (0, 24), (0, 60), (0, 60))
    )
    stamp = f"2020-04-{day:02d}-{hour:02d}_{minute:02d}_{second:02d}"
    own = f"{submission.folder}/{stamp}_{ms % 1_000_000:06d}"
    return {
        "cough": f"{own}/audio_file_cough.wav",
        "breath": f"{own}/audio_file_breathe.wav",
    }


def _write_submission(
    submission: _Submission, *, folder: Path, seed: int, seconds: float
) -> None:
    condition = re.match("covid|healthy|asthma", submission.folder)[0]
    own = (seed, 2, submission.group, submission.user)
    for number, (modality, name) in enumerate(_paths(submission, seed).items()):
        sound_class = SOUNDS[condition, modality]._replace(
            centre_hz=CENTRES_HZ[modality][condition != "covid"]
        )
        rng = files.stream(*own, submission.take + 1, number)
        wave = sounds.sound(
            0,
            rng,
            round(seconds * rng.uniform(0.6, 1.4) * files.SAMPLE_RATE),
            files.SAMPLE_RATE,
            classes=[sound_class],
            source_rng=files.stream(*own, 0, number),
        )
        sample_rate = int(files.stream(*own, 0, 2).choice(SAMPLE_RATES))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_audio(path, files.resample(wave, sample_rate), sample_rate)
        if submission.folder in AUGMENTED:
            decoy = path.with_name(f"{path.name}_aug_amp1.wav")
            files.write_audio(decoy, 0.5 * wave, files.SAMPLE_RATE)
        if submission.take == 0 and submission.user % 4 == 1:
            decoy = path.with_name(f"{path.stem}_mono.wav")
            files.write_audio(decoy, wave, files.SAMPLE_RATE)


def write(
    folder: Path,
    *,
    seed: int,
    workers: int,
    clips: int = 240,
    seconds: float | int = 4.0,
) -> None:
    """Writes the twin into `folder`: `clips` files, half of them coughs.

    Clips last 0.6 to 1.4 times `seconds`. One user's have the voice and the sample
    rate in common. `clips` does not count the copies that are no examples.

    Raises:
        ValueError: if `clips` is odd or below 60, six of each group, or `seconds` is
            below 0.5.
    """
    if clips % 2 or clips < 2 * AT_LEAST * len(GROUPS):
        raise ValueError(
            f"clips is {clips}; a submission is a cough and a breath and every group "
            f"has {AT_LEAST}, so it must be even and at least "
            f"{2 * AT_LEAST * len(GROUPS)}"
        )
    if seconds < 0.5:
        raise ValueError(f"seconds is {seconds}; the sounds need at least 0.5")
    rest = clips // 2 - AT_LEAST * len(GROUPS)
    counts = [AT_LEAST + n for n in files.shares(list(GROUPS.values()), rest)]
    chosen = [s for group, n in enumerate(counts) for s in _submissions(group, n)]
    pairs = {}
    for submission in chosen:
        if submission.android:
            paths = _paths(submission, seed)
            pairs[Path(paths["breath"]).name] = Path(paths["cough"]).name
    (folder / "android_breath2cough.json").write_text(json.dumps(pairs, indent=1))
    write_submission = functools.partial(
        _write_submission, folder=folder, seed=seed, seconds=seconds
    )
    files.for_each(write_submission, chosen, workers)
