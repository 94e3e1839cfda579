"""Cambridge COVID-19 Sounds (Brown et al., KDD 2020), the release of 2020.

Ten folders, one per group of users and app. Of the Android app they hold
`breath/breaths_<user>_<ms>.wav` and `cough/cough_<user>_<ms>.wav`; of the web app
`<submission>/audio_file_breathe.wav` and `<submission>/audio_file_cough.wav`.
"""

import re
from pathlib import PurePath

from aemjax.data.clips import AUDIO_SUFFIXES, Clip, Listing
from aemjax.data.folders import AnyPath, files_below

# Of each task: the groups of its classes, in label order, and the sounds it hears.
TASKS = {
    1: (
        {
            "covid": (
                "covidandroidnocough",
                "covidandroidwithcough",
                "covidwebnocough",
                "covidwebwithcough",
            ),
            "healthy": ("healthyandroidnosymp", "healthywebnosymp"),
        },
        ("breath", "cough"),
    ),
    2: (
        {
            "covid": ("covidandroidwithcough", "covidwebwithcough"),
            "healthy": ("healthyandroidwithcough", "healthywebwithcough"),
        },
        ("cough",),
    ),
    3: (
        {
            "covid": ("covidandroidwithcough", "covidwebwithcough"),
            "asthma": ("asthmaandroidwithcough", "asthmawebwithcough"),
        },
        ("breath",),
    ),
}
ANDROID_PREFIXES = {"breath": "breaths_", "cough": "cough_"}
WEB_STEMS = {"breath": "audio_file_breathe", "cough": "audio_file_cough"}
# Files, not the paper's samples: of task 1 a sample is a breath and a cough.
PUBLISHED = {
    1: {"full": {"covid": 282, "healthy": 596}},
    2: {"full": {"covid": 54, "healthy": 32}},
    3: {"full": {"covid": 54, "asthma": 20}},
}


def read(source: AnyPath, *, task: int) -> Listing:
    """Lists the recordings of a task, 1 to 3: covid against healthy, the same of users
    who cough, covid against asthma. Each file is a clip.

    A group is a user: named in an Android file, and by the submission on the web.
    Augmented copies (`.wav_aug`) and `mono` ones, which the release holds too, are left
    out.

    Raises:
      ValueError: on an unknown task, a folder that is missing or empty, or a file that
        names no user.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task}; known: {list(TASKS)}")
    classes, sounds = TASKS[task]
    labels = {
        folder: label
        for label, folders in enumerate(classes.values())
        for folder in folders
    }
    clips, heard = [], set()
    for file in files_below(source):
        path = PurePath(file)
        folder = path.parent.parent.name
        if folder not in labels or (user := _user(path, folder, sounds)) is None:
            continue
        heard.add(folder)
        clips.append(
            Clip(
                id=f"{folder}/{path.parent.name}/{path.stem}",
                source=file,
                labels=(labels[folder],),
                group=user,
                device=_device(folder),
            )
        )
    if absent := [folder for folder in labels if folder not in heard]:
        raise ValueError(
            f"{source} holds no {' or '.join(sounds)} recordings of {absent}; unpack "
            "every folder of the task"
        )
    return Listing(label_names=tuple(classes), clips=tuple(clips))


def _device(folder: str) -> str:
    return "web" if "web" in folder else "android"


def _user(path: PurePath, folder: str, sounds: tuple[str, ...]) -> str | None:
    """Whose recording it is; None if it is none of the task's."""
    if path.suffix.lower() not in AUDIO_SUFFIXES:
        return None
    if ".wav_aug" in path.name or "mono" in path.name:
        return None
    if _device(folder) == "web":
        return path.parent.name if path.stem in map(WEB_STEMS.get, sounds) else None
    if path.parent.name not in sounds:
        return None
    prefix = ANDROID_PREFIXES[path.parent.name]
    if not path.name.startswith(prefix):
        return None
    found = re.fullmatch(rf"{prefix}(.+)_\d+", path.stem)
    if not found:
        raise ValueError(
            f"{path} is not named {prefix}<user>_<milliseconds>: without its user it "
            "cannot be kept on one side; remove it"
        )
    return found[1]
