"""ICBHI 2017 respiratory sounds (Rocha et al., ICBHI 2017), as the authors ship them.

One folder holds `<patient>_<index>_<location>_<mode>_<device>` as .wav and .txt; a line
of the .txt is a respiratory cycle: start and end in seconds, crackles and wheezes as 0
or 1. `ICBHI_challenge_train_test.txt` is the official division of the recordings.
"""

import math
import re

import soundfile as sf

from aemjax.data.clips import Clip, Listing, files_by_stem, find, open_text
from aemjax.data.folders import AnyPath, as_path, files_below, open_file

CLASSES = ("normal", "crackles", "wheezes", "both")
SPLIT_LIST = "ICBHI_challenge_train_test.txt"
FOLDERS = ("audio_and_txt_files", "ICBHI_final_database")
NAME = re.compile(r"(?P<patient>\d+)_[^_]+_[^_]+_[^_]+_(?P<device>[^_]+)")
CYCLE = re.compile(r"(\d+(?:\.\d+)?)\s(\d+(?:\.\d+)?)\s([01])\s([01])")
# A last cycle may end a little after the last sample. No cycle is as short as this, so
# none vanishes; one that ends later yet is of another recording, and left as it is.
MAX_OVERSHOOT_S = 0.1
PUBLISHED = {
    "train": dict(zip(CLASSES, (2063, 1215, 501, 363), strict=True)),
    "test": dict(zip(CLASSES, (1579, 649, 385, 143), strict=True)),
}


def read(source: AnyPath) -> Listing:
    """Lists the respiratory cycles, `<recording>_<number from 1>`, of an official folder.

    A patient is a group; two of them (156 and 218) are officially on both sides. A
    recording and its line in the split list are matched on all but the device, which
    the list has wrong for one of them (226_1b1_Pl_sc).

    Raises:
      ValueError: if a file is missing or malformed, or a recording is not in the split
        list, or the reverse.
    """
    split_list = find(source, SPLIT_LIST)
    splits = _splits(split_list)
    annotations = _annotations(source)
    if unlisted := sorted(annotations.keys() - splits.keys()):
        raise ValueError(
            f"{split_list} has no line for {len(unlisted)} recordings, the first: "
            f"{annotations[unlisted[0]].stem!r}; fetch the official list"
        )
    if absent := sorted(splits.keys() - annotations.keys()):
        raise ValueError(
            f"{split_list} names {len(absent)} recordings without an annotation file, "
            f"the first: {absent[0]}_*.txt; fetch them all (audio may be missing)"
        )
    files = files_by_stem(next(iter(annotations.values())).parent)
    clips = []
    for key, path in annotations.items():
        name = NAME.fullmatch(path.stem)
        file = files.get(path.stem)
        length_s = math.inf if file is None else _length_s(file)
        for number, (start_s, end_s, label) in enumerate(_cycles(path), start=1):
            if length_s < end_s <= length_s + MAX_OVERSHOOT_S:
                end_s = length_s
            clips.append(
                Clip(
                    id=f"{path.stem}_{number}",
                    source=file,
                    labels=(label,),
                    split=splits[key],
                    group=name["patient"],
                    device=name["device"],
                    start_s=start_s,
                    end_s=end_s,
                )
            )
    return Listing(label_names=CLASSES, clips=tuple(clips))


def _annotations(source: AnyPath) -> dict[str, AnyPath]:
    """Annotation files by the first four fields of their names."""
    paths = [as_path(file) for file in files_below(source) if file.endswith(".txt")]
    paths = [path for path in paths if NAME.fullmatch(path.stem)]
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        folders = {folder for folder in folders if folder.name in FOLDERS}
    if len(folders) != 1:
        raise ValueError(
            f"{source}: annotations <patient>_<index>_<location>_<mode>_<device>.txt are "
            f"expected in one folder, or one named {' or '.join(FOLDERS)}; found "
            f"{sorted({str(path.parent) for path in paths})}"
        )
    by_key = {}
    for path in paths:
        if path.parent in folders and by_key.setdefault(_key(path.stem), path) != path:
            raise ValueError(
                f"{path} and {by_key[_key(path.stem)].name} differ in the device alone; "
                "remove the one that is not the dataset's"
            )
    return by_key


def _key(recording: str) -> str:
    return recording.rpartition("_")[0]


def _splits(path: AnyPath) -> dict[str, str]:
    """Splits by the first four fields of the recordings' names."""
    splits = {}
    for number, line in _lines(path):
        recording, _, split = line.partition("\t")
        if split not in PUBLISHED or _key(recording) in splits:
            raise ValueError(
                f"{path}:{number}: {line!r} is not a recording, a tab and 'train' or "
                "'test', each recording once"
            )
        splits[_key(recording)] = split
    return splits


def _cycles(path: AnyPath) -> list[tuple[float, float, int]]:
    """(start_s, end_s, label) of each cycle."""
    cycles = []
    for number, line in _lines(path):
        found = CYCLE.fullmatch(line)
        if not found or not float(found[1]) < float(found[2]):
            raise ValueError(
                f"{path}:{number}: {line!r} is not 'start end crackles wheezes': a start "
                "before the end, and 0 or 1 twice"
            )
        label = int(found[3]) + 2 * int(found[4])
        cycles.append((float(found[1]), float(found[2]), label))
    return cycles


def _lines(path: AnyPath) -> list[tuple[int, str]]:
    """Lines that hold something, by their numbers."""
    with open_text(path) as file:
        lines = enumerate(file.read().splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _length_s(file: str) -> float:
    """Seconds of audio; of what cannot be read `prepare` will say more."""
    try:
        return sf.info(open_file(file)).duration
    except sf.LibsndfileError:
        return math.inf
