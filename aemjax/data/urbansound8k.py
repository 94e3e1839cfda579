"""UrbanSound8K (Salamon et al., ACM Multimedia 2014), as its authors ship it.

`metadata/UrbanSound8K.csv` and `audio/fold1..fold10/{fsID}-{classID}-*-*.wav`. Slices
of one recording stay in one of the ten official folds, which are never reshuffled.
"""

from pathlib import PurePath

from aemjax.data.clips import Clip, Listing, files_by_stem, find, read_csv
from aemjax.data.folders import AnyPath

COLUMNS = ("slice_file_name", "fsID", "fold", "classID", "class")
PUBLISHED = {
    "full": {
        "air_conditioner": 1000,
        "car_horn": 429,
        "children_playing": 1000,
        "dog_bark": 1000,
        "drilling": 1000,
        "engine_idling": 1000,
        "gun_shot": 374,
        "jackhammer": 1000,
        "siren": 929,
        "street_music": 1000,
    }
}


def read(source: AnyPath) -> Listing:
    """Lists the slices of an official folder.

    Class numbers are renumbered from 0 in their order, so a csv of some classes only
    has labels without gaps.

    Raises:
      ValueError: if the csv is missing, lists nothing, lacks a column or is malformed.
    """
    path = find(source, "metadata/UrbanSound8K.csv")
    rows = list(read_csv(path, COLUMNS, whole=("fold", "classID")))
    if not rows:
        raise ValueError(f"{path} lists no clips")
    names = {int(row["classID"]): row["class"] for row in rows}
    numbers = {class_id: number for number, class_id in enumerate(sorted(names))}
    files = files_by_stem(path.parent.parent / "audio")

    def clip(row: dict[str, str]) -> Clip:
        stem = PurePath(row["slice_file_name"]).stem
        return Clip(
            id=stem,
            source=files.get(stem),
            labels=(numbers[int(row["classID"])],),
            fold=int(row["fold"]),
            group=row["fsID"],
        )

    return Listing(
        label_names=tuple(names[number] for number in sorted(names)),
        clips=tuple(clip(row) for row in rows),
    )
