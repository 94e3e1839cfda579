"""What a dataset's reader hands to `prepare`: the clips of an official folder."""

import contextlib
import csv
import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import TextIO

from aemjax.data.folders import AnyPath, as_path, files_below

AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aiff", ".aif", ".aifc", ".au", ".caf", ".w64"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """One example of a dataset, before its audio is read.

    Attributes:
      id: unique within the dataset.
      source: audio file, or "FILE.parquet#ROW" of a parquet file with a column
        audio.bytes; None where the dataset lists it and the folder lacks it.
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


def find(source: AnyPath, name: str) -> AnyPath:
    """The file `name` ("meta/esc50.csv") of a dataset, at `source` or below it.

    Archives unpack into folders of their own, so the dataset's root may be some levels
    below the folder that a user has in mind. What lies at `source` is taken unsearched.

    Raises:
      ValueError: if there is none, or more than one.
    """
    if (source / name).is_file():
        return source / name
    found = [
        f for f in files_below(source) if PurePath(f).as_posix().endswith("/" + name)
    ]
    if not found:
        raise ValueError(
            f"{source / name} does not exist, nor does {name} in a folder below; is "
            "this the dataset's own folder?"
        )
    if len(found) > 1:
        raise ValueError(
            f"{source} holds {name} {len(found)} times: {found[:3]}; name the folder of "
            "one dataset as the source"
        )
    return as_path(found[0])


def read_csv(
    path: AnyPath,
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
    with open_text(path) as file:
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


@contextlib.contextmanager
def open_text(path: AnyPath) -> Iterator[TextIO]:
    """A file of UTF-8 with or without a byte order mark, line ends as they are.

    Raises:
      ValueError: if what is read of it is not UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield file
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


def files_by_stem(folder: AnyPath) -> dict[str, str]:
    """Every audio file below `folder`, by name without extension."""
    return by_stem(files_below(folder))


def by_stem(files: Iterable[str]) -> dict[str, str]:
    """Those of `files` that are audio, by name without extension."""
    return {
        PurePath(file).stem: file
        for file in files
        if file.lower().endswith(AUDIO_SUFFIXES)
    }
