"""UrbanSound8K (Salamon et al., ACM Multimedia 2014), as its authors ship it.

`metadata/UrbanSound8K.csv` and `audio/fold1..fold10/{fsID}-{classID}-*-*.wav`. Slices
of one recording stay in one of the ten official folds, which are never reshuffled.
"""

from pathlib import Path

from aemjax.data.clips import Clip, Listing, files_by_stem, read_csv

COLUMNS = ("slice_file_name", "fsID", "fold", "classID", "class")


def read(source: Path) -> Listing:
    """Lists the slices of an official folder.

    Raises:
      ValueError: if the csv is missing, or lacks a column.
    """
    rows = list(read_csv(source / "metadata" / "UrbanSound8K.csv", COLUMNS))
    names = {int(row["classID"]): row["class"] for row in rows}
    files = files_by_stem(source / "audio")

    def clip(row: dict[str, str]) -> Clip:
        stem = Path(row["slice_file_name"]).stem
        return Clip(
            id=stem,
            source=str(files[stem]) if stem in files else None,
            labels=(int(row["classID"]),),
            fold=int(row["fold"]),
            group=row["fsID"],
        )

    return Listing(
        label_names=tuple(names[number] for number in sorted(names)),
        clips=tuple(clip(row) for row in rows),
    )
