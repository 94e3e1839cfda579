"""DCASE 2013 scene classification (Stowell et al., IEEE Trans. Multimedia 2015).

`scenes_stereo/` is the public development set: `<scene><two digits>.wav`, ten clips of
each of ten scenes. The challenge's own test set, as large and public since, lies in
another folder; the names of its files say their scenes, or a csv does. Both sets use
the same names. No division of all 200 clips was published.
"""

import csv
import itertools
import re
from collections.abc import Collection
from pathlib import PurePath

from aemjax.data.clips import AUDIO_SUFFIXES, Clip, Listing, open_text
from aemjax.data.folders import AnyPath, as_path, files_below

DEVELOPMENT = "scenes_stereo"
SCENES = (
    *("bus", "busystreet", "office", "openairmarket", "park"),
    *("quietstreet", "restaurant", "supermarket", "tube", "tubestation"),
)
PUBLISHED = {split: dict.fromkeys(SCENES, 10) for split in ("train", "test")}


def read(source: AnyPath) -> Listing:
    """Lists the clips of the development set, and of the test set if it is there.

    Splits are "train" (development) and "test": the one other folder of audio below
    `source`. A clip's id is its split and the name of its file.

    Raises:
      ValueError: if there is no development set, more than one other folder holds
        audio, or the scene of a clip is not clear.
    """
    found = files_below(source)
    files = _audio(source, found)
    scenes = {"train": {stem: _scene(stem) for stem in files["train"]}}
    names = sorted(set(filter(None, scenes["train"].values())))
    if "test" in files:
        scenes["test"] = {stem: _scene(stem, names) for stem in files["test"]}
        keys = [file for file in found if file.endswith(".csv")]
        scenes["test"] |= _key(keys, set(files["test"]), names)
    for split, by_stem in scenes.items():
        if unclear := [files[split][stem] for stem, s in by_stem.items() if s is None]:
            raise ValueError(
                f"the scene of {len(unclear)} files is not clear, the first: "
                f"{unclear[0]}; expected a name of scene and two digits, or for the test "
                "set a csv of file names and the development set's scenes"
            )
    return Listing(
        label_names=tuple(names),
        clips=tuple(
            Clip(
                id=f"{split}_{stem}",
                source=files[split].get(stem),
                labels=(names.index(scene),),
                split=split,
            )
            for split, by_stem in scenes.items()
            for stem, scene in by_stem.items()
        ),
    )


def _audio(source: AnyPath, found: list[str]) -> dict[str, dict[str, str]]:
    """{split: {name without extension: file}}."""
    folders = {}
    for file in found:
        if file.lower().endswith(AUDIO_SUFFIXES):
            path = PurePath(file)
            folders.setdefault(path.parent, {})[path.stem] = file
    splits = ["train" if f.name == DEVELOPMENT else "test" for f in folders]
    if splits.count("train") != 1 or splits.count("test") > 1:
        raise ValueError(
            f"{source} holds audio in {[str(folder) for folder in folders]}, expected "
            f"one folder {DEVELOPMENT} and at most one other, the test set"
        )
    return dict(zip(splits, folders.values(), strict=True))


def _scene(name: str, known: Collection[str] = ()) -> str | None:
    """The scene in "park07" or "park07.wav", if it is `known` or nothing is."""
    found = re.fullmatch(r"(.+)\d\d", PurePath(name).stem)
    return found[1] if found and (not known or found[1] in known) else None


def _key(paths: list[str], files: set[str], names: list[str]) -> dict[str, str]:
    """Scenes by file name, as the one csv says, if there is one.

    Which columns it has is not taken for granted: that of the file names is the one
    which holds most of them.
    """
    if not paths:
        return {}
    if len(paths) > 1:
        raise ValueError(
            f"expected one csv at most, the test set's key, found {paths}; move the "
            "others away"
        )
    with open_text(as_path(paths[0])) as file:
        rows = [[field.strip() for field in row] for row in csv.reader(file) if row]
    columns = itertools.zip_longest(*rows, fillvalue="")
    stems = [[PurePath(field).stem for field in column] for column in columns]
    named = max(stems, key=lambda column: len(files.intersection(column)), default=())
    scenes = {}
    for number, (row, stem) in enumerate(zip(rows, named, strict=True), start=1):
        found = {field if field in names else _scene(field, names) for field in row}
        found.discard(None)
        if number == 1 and not found:
            continue  # the header
        if len(found) != 1:
            raise ValueError(
                f"{paths[0]}, row {number}: {row} names the scenes {sorted(found)}, "
                f"expected one of {names}"
            )
        (scene,) = found
        if scenes.setdefault(stem, scene) != scene:
            raise ValueError(
                f"{paths[0]}, row {number}: {stem!r} is {scene!r} here and "
                f"{scenes[stem]!r} in an earlier row; correct one"
            )
    return scenes
