"""TAU Urban Acoustic Scenes 2020 Mobile (Heittola et al., DCASE 2020), as published.

The development set of task 1A of DCASE 2020 and 2021. `audio/` holds
`<scene>-<city>-<location>-<segment>-<device>.wav`; `evaluation_setup/` the official
lists, with tabs: `fold1_train.csv` to train on, `fold1_evaluate.csv` to test on; and
`meta.csv` names these clips and those of neither list.
"""

from pathlib import PurePath

from aemjax.data.clips import Clip, Listing, files_by_stem, find, read_csv
from aemjax.data.folders import AnyPath

COLUMNS = ("filename", "scene_label")
DEVICES = ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")
PUBLISHED = {
    "train": {
        "airport": 1394,
        "bus": 1400,
        "metro": 1382,
        "metro_station": 1380,
        "park": 1429,
        "public_square": 1428,
        "shopping_mall": 1374,
        "street_pedestrian": 1386,
        "street_traffic": 1413,
        "tram": 1379,
    },
}
PUBLISHED["test"] = dict.fromkeys(PUBLISHED["train"], 297)


def read(source: AnyPath) -> Listing:
    """Lists the clips of an official folder; labels are in the order of their names.

    Splits are "train", "test" (the evaluate list) and, where there is a `meta.csv`,
    "unused" for its clips in neither list. Segments of one place are a group.

    Raises:
      ValueError: if a list is missing or malformed, or contradicts a file's name.
    """
    train = find(source, "evaluation_setup/fold1_train.csv")
    root = train.parent.parent
    lists = {"train": train, "test": train.with_name("fold1_evaluate.csv")}
    listed = [
        (split, row["filename"], *_fields(path, row))
        for split, path in lists.items()
        for row in read_csv(path, COLUMNS, delimiter="\t")
    ]
    if (meta := root / "meta.csv").is_file():
        used = {filename for _, filename, *_ in listed}
        rows = read_csv(meta, (*COLUMNS, "source_label"), delimiter="\t")
        everything = [("unused", row["filename"], *_fields(meta, row)) for row in rows]
        listed += [clip for clip in everything if clip[1] not in used]
    names = sorted({scene for _, _, scene, _, _ in listed})
    numbers = {name: number for number, name in enumerate(names)}
    files = files_by_stem(root)

    def clip(split: str, filename: str, scene: str, place: str, device: str) -> Clip:
        stem = PurePath(filename).stem
        return Clip(
            id=stem,
            source=files.get(stem),
            labels=(numbers[scene],),
            split=split,
            group=place,
            device=device,
        )

    return Listing(tuple(names), tuple(clip(*row) for row in listed))


def _fields(path: AnyPath, row: dict[str, str]) -> tuple[str, str, str]:
    """(scene, place, device) of a row, from the name of its file."""
    name = row["filename"]
    fields = PurePath(name).stem.split("-")
    if len(fields) != 5:
        raise ValueError(
            f"{path}: {name!r} is not named <scene>-<city>-<location>-<segment>-<device>"
        )
    scene, city, location, _, device = fields
    columns = {"scene_label": scene, "source_label": device}
    for column, expected in columns.items():
        if row.get(column, expected) != expected:
            raise ValueError(
                f"{path}: {column} of {name!r} is {row[column]!r}, its name says "
                f"{expected!r}"
            )
    return scene, f"{scene}-{city}-{location}", device
