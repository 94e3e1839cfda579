"""Any set of your own: a csv, or a folder per class.

The csv has the columns `path,label` and optionally `split,fold,group,start_s,end_s`;
paths are relative to it, and labels separated by `;` make a set multi-label. Parts of one
file are a group unless the csv names another.
"""

import math
import re
from pathlib import Path

from aemjax.data.clips import AUDIO_SUFFIXES, Clip, Listing, read_csv


def read(source: Path) -> Listing:
    """Lists the clips of a csv file, of the one csv in a folder, or of class folders.

    Raises:
      ValueError: if neither is there, a column is missing or a field is malformed.
    """
    if source.is_dir():
        tables = sorted(source.glob("*.csv"))
        if len(tables) > 1:
            raise ValueError(
                f"{source} holds {[table.name for table in tables]}; name the one to "
                "read as the source"
            )
        if not tables:
            return _read_folders(source)
        source = tables[0]
    return _read_csv(source)


def _read_csv(path: Path) -> Listing:
    rows = list(read_csv(path, ("path", "label")))
    if not rows:
        raise ValueError(f"{path} lists no clips")
    labels = [
        [label.strip() for label in row["label"].split(";") if label.strip()]
        for row in rows
    ]
    names = sorted({label for row in labels for label in row})
    numbers = {name: number for number, name in enumerate(names)}
    clips = []
    for line, (row, own) in enumerate(zip(rows, labels, strict=True), start=2):
        if not own:
            raise ValueError(f"{path}:{line}: no label for {row['path']!r}")
        file = path.parent / row["path"]
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
                fold=_fold(path, line, row),
                group=row.get("group") or (row["path"] if part else ""),
                start_s=start_s,
                end_s=end_s,
            )
        )
    return Listing(label_names=tuple(names), clips=tuple(clips))


def _split(path: Path, line: int, row: dict) -> str:
    split = row.get("split") or "full"
    if not re.fullmatch(r"\w+", split, re.ASCII):  # it becomes part of file names
        raise ValueError(
            f"{path}:{line}: split is {split!r}, expected letters, digits and _"
        )
    return split


def _fold(path: Path, line: int, row: dict) -> int:
    fold = _number(path, line, row, "fold") or 0.0
    if fold < 0 or not fold.is_integer():
        raise ValueError(
            f"{path}:{line}: fold is {row['fold']!r}, expected a whole number"
        )
    return int(fold)


def _seconds(path: Path, line: int, row: dict, key: str) -> float | None:
    value = _number(path, line, row, key)
    if value is not None and not 0 <= value < math.inf:
        raise ValueError(f"{path}:{line}: {key} is {value}, expected seconds from 0")
    return value


def _number(path: Path, line: int, row: dict, key: str) -> float | None:
    text = row.get(key)
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{path}:{line}: {key} is {text!r}, not a number") from error


def _read_folders(source: Path) -> Listing:
    folders = sorted(
        path
        for path in source.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
    clips = [
        Clip(
            id=str(file.relative_to(source)),
            source=str(file),
            labels=(number,),
        )
        for number, folder in enumerate(folders)
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in AUDIO_SUFFIXES
    ]
    if not clips:
        raise ValueError(
            f"{source} holds neither a csv with path,label nor class folders of audio"
        )
    return Listing(
        label_names=tuple(folder.name for folder in folders), clips=tuple(clips)
    )
