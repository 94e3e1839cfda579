"""Any set of your own: a csv, or a folder per class, in one per split if there are any.

The csv has the columns `path,label` and optionally `split,fold,group,start_s,end_s`;
paths are relative to it, and labels separated by `;` make a set multi-label. Rows of one
file, and its parts, are a group unless the csv names another.
"""

import collections
import difflib
import math
import os
import re

from aemjax.data.clips import AUDIO_SUFFIXES, Clip, Listing, read_csv
from aemjax.data.folders import AnyPath, as_path, files_below

COLUMNS = ("path", "label", "split", "fold", "group", "start_s", "end_s")
# Names of folders that are splits, where no other lies beside them.
SPLITS = {"train", "valid", "val", "validation", "dev", "test", "eval"}


def read(source: AnyPath) -> Listing:
    """Lists the clips of a csv file, of the one csv in a folder, or of class folders.

    Class folders may lie in folders that are all named like splits (`SPLITS`).

    Raises:
      ValueError: if neither is there, a column is missing or misspelt, or a field is
        malformed.
    """
    if source.is_dir():
        # macOS leaves notes on "x.csv" as "._x.csv".
        tables = sorted(source.glob("[!.]*.csv"))
        if len(tables) > 1:
            raise ValueError(
                f"{source} holds {[table.name for table in tables]}; name the one to "
                "read as the source"
            )
        if not tables:
            return _read_folders(source)
        source = tables[0]
    return _read_csv(source)


def _read_csv(path: AnyPath) -> Listing:
    rows = [_stripped(row) for row in read_csv(path, ("path", "label"))]
    if not rows:
        raise ValueError(f"{path} lists no clips")
    _check_columns(path, {column for row in rows for column in row})
    labels = [
        [label.strip() for label in row["label"].split(";") if label.strip()]
        for row in rows
    ]
    names = sorted({label for row in labels for label in row})
    numbers = {name: number for number, name in enumerate(names)}
    listed = [path.parent / row["path"] for row in rows]
    # "./1.wav" is "1.wav".
    places = [os.path.relpath(str(file), str(path.parent)) for file in listed]
    times = collections.Counter(places)
    folds = _folds(path, rows)
    clips = []
    for line, (row, own, file, place, fold) in enumerate(
        zip(rows, labels, listed, places, folds, strict=True), start=2
    ):
        if not own:
            raise ValueError(f"{path}:{line}: no label for {row['path']!r}")
        start_s, end_s = (
            _seconds(path, line, row, key) for key in ("start_s", "end_s")
        )
        part = "" if start_s is None and end_s is None else f"@{start_s}-{end_s}"
        clips.append(
            Clip(
                id=row["path"] + part,
                source=str(file) if file.is_file() else None,
                labels=tuple(sorted({numbers[label] for label in own})),
                split=_split(path, line, row),
                fold=fold,
                group=row.get("group") or (place if part or times[place] > 1 else ""),
                start_s=start_s,
                end_s=end_s,
            )
        )
    return Listing(label_names=tuple(names), clips=tuple(clips))


def _stripped(row: dict) -> dict[str, str]:
    """Without spaces around fields, and without fields that have no column."""
    return {key: text.strip() for key, text in row.items() if isinstance(text, str)}


def _check_columns(path: AnyPath, columns: set[str]) -> None:
    """Columns of other names are the user's own, unless near one that is absent."""
    absent = [name for name in COLUMNS if name not in columns]
    for column in sorted(columns - set(COLUMNS)):
        word = column.strip().casefold()
        if near := difflib.get_close_matches(word, absent, n=1, cutoff=0.75):
            raise ValueError(
                f"{path} has the column {column!r}, expected {near[0]!r}; name it so, or "
                "by another word if it is something else"
            )


def _split(path: AnyPath, line: int, row: dict) -> str:
    split = row.get("split") or "full"
    if not re.fullmatch(r"\w+", split, re.ASCII):  # it becomes part of file names
        raise ValueError(
            f"{path}:{line}: split is {split!r}, expected letters, digits and _"
        )
    return split


def _folds(path: AnyPath, rows: list[dict]) -> list[int]:
    folds = [_fold(path, line, row) for line, row in enumerate(rows, start=2)]
    if any(folds):  # zeros alone say that there are no folds
        for line, (row, fold) in enumerate(zip(rows, folds, strict=True), start=2):
            if not fold and row.get("fold"):
                raise ValueError(
                    f"{path}:{line}: fold is {row['fold']!r}, folds count from 1; add 1 "
                    "to each, or leave the field empty where a clip is of none"
                )
    return folds


def _fold(path: AnyPath, line: int, row: dict) -> int:
    fold = _number(path, line, row, "fold") or 0.0
    if fold < 0 or not fold.is_integer():
        raise ValueError(
            f"{path}:{line}: fold is {row['fold']!r}, expected a whole number"
        )
    return int(fold)


def _seconds(path: AnyPath, line: int, row: dict, key: str) -> float | None:
    value = _number(path, line, row, key)
    if value is not None and not 0 <= value < math.inf:
        raise ValueError(f"{path}:{line}: {key} is {value}, expected seconds from 0")
    return value


def _number(path: AnyPath, line: int, row: dict, key: str) -> float | None:
    text = row.get(key)
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{path}:{line}: {key} is {text!r}, not a number") from error


def _read_folders(source: AnyPath) -> Listing:
    source = as_path(str(source))
    found = []  # (parts of the path below the source, file)
    for file in map(as_path, files_below(source)):
        parts = file.relative_to(source).parts
        if (
            len(parts) > 1
            and not parts[0].startswith(".")
            and file.suffix.lower() in AUDIO_SUFFIXES
        ):
            found.append((parts, str(file)))
    if not found:
        raise ValueError(
            f"{source} holds neither a csv with path,label nor class folders of audio"
        )
    found.sort()
    has_splits = {parts[0] for parts, _ in found} <= SPLITS
    class_at = 1 if has_splits else 0  # "train/dog/1.wav" or "dog/1.wav"
    loose = [file for parts, file in found if len(parts) < class_at + 2]
    if loose:
        raise ValueError(
            f"{loose[0]} is of no class: {source} holds a folder per split, expected one "
            "per class in each"
        )
    names = sorted({parts[class_at] for parts, _ in found})
    numbers = {name: number for number, name in enumerate(names)}
    return Listing(
        label_names=tuple(names),
        clips=tuple(
            Clip(
                id="/".join(parts),
                source=file,
                labels=(numbers[parts[class_at]],),
                split=parts[0] if has_splits else "full",
            )
            for parts, file in found
        ),
    )
