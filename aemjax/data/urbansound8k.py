"""UrbanSound8K (Salamon et al., ACM Multimedia 2014), as its authors ship it.

`metadata/UrbanSound8K.csv` and `audio/fold1..fold10/{fsID}-{classID}-*-*.wav`. Slices
of one recording stay in one of the ten official folds, which are never reshuffled.
"""

from pathlib import Path

from aemjax.data.clips import Clip, Listing, files_by_stem, read_csv

COLUMNS = ("slice_file_name", "fsID", "fold", "classID", "class")


def read(source: Path) -> Listing:
    """Lists the slices of an official folder.

    Class numbers are renumbered from 0 in their order, so a csv of some classes only
    has labels without gaps.

    Raises:
      ValueError: if the csv is missing, lists nothing, lacks a column or is malformed.
    """
    path = source / "metadata" / "UrbanSound8K.csv"
    rows = list(read_csv(path, COLUMNS, whole=("fold", "classID")))
    if not rows:
        raise ValueError(f"{path} lists no clips")
    names = {int(row["classID"]): row["class"] for row in rows}
    numbers = {class_id: number for number, class_id in enumerate(sorted(names))}
    files = files_by_stem(source / "audio")

    def clip(row: dict[str, str]) -> Clip:
        stem = Path(row["slice_file_name"]).stem
        return Clip(
            id=stem,
            source=str(files[stem]) if stem in files else None,
            labels=(numbers[int(row["classID"])],),
            fold=int(row["fold"]),
            group=row["fsID"],
        )

    return Listing(
        label_names=tuple(names[number] for number in sorted(names)),
        clips=tuple(clip(row) for row in rows),
    )
