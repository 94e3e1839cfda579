"""What a dataset's reader hands to `prepare`: the clips of an official folder."""

import csv
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """One example of a dataset, before its audio is read.

    Attributes:
      id: unique within the dataset.
      source: audio file; None where the dataset lists it and the folder lacks it.
      labels: class numbers, at least one.
      split: the official split it belongs to ("full" where only folds are official).
      fold: the official fold, from 1; 0 where there is none.
      group: what must not stand on both sides of a split (recording, patient, user).
      device: what it was recorded with; "" where the dataset does not say.
      start_s, end_s: the part of the file that is the clip; None: to its ends.
    """

    id: str
    source: str | None
    labels: tuple[int, ...]
    split: str = "full"
    fold: int = 0
    group: str = ""
    device: str = ""
    start_s: float | None = None
    end_s: float | None = None


@dataclasses.dataclass(frozen=True)
class Listing:
    """A dataset's classes, in label order, and its clips, in its own order."""

    label_names: tuple[str, ...]
    clips: tuple[Clip, ...]


def read_csv(
    path: Path,
    columns: Sequence[str],
    *,
    whole: Sequence[str] = (),
    delimiter: str = ",",
) -> Iterator[dict[str, str]]:
    """Yields the rows of a csv with a header line; byte order mark and CRLF are fine.

    Args:
      columns: those that it must have, and every row a field of.
      whole: those of `columns` that hold whole numbers.

    Raises:
      ValueError: if the file is missing or not UTF-8, lacks one of `columns`, or a row
        is malformed.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; is this the dataset's own folder?")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            found = reader.fieldnames or []
            if absent := [column for column in columns if column not in found]:
                raise ValueError(
                    f"{path} lacks the columns {absent}; it has {found}, expected "
                    f"{list(columns)}"
                )
            for row in reader:
                _check_row(row, f"{path}:{reader.line_num}", columns, whole)
                yield row
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error


def _check_row(
    row: dict[str, str], where: str, columns: Sequence[str], whole: Sequence[str]
) -> None:
    if short := [column for column in columns if row[column] is None]:
        raise ValueError(f"{where}: no fields {short}, the row is too short")
    for column in whole:
        if not re.fullmatch(r"\d+", row[column].strip()):
            raise ValueError(
                f"{where}: {column} is {row[column]!r}, expected a whole number"
            )


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Every audio file below `folder`, by name without extension."""
    return {
        path.stem: path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES
    }
