"""AudioSet (Gemmeke et al., ICASSP 2017): the official csv files and fetched audio.

Audio is one file per segment anywhere below the folder, or parquet files in the form of
the set `agkphysics/AudioSet` of Hugging Face. Downloaders name their files `YTID`, `Y` +
YTID, `YTID_START` or `YTID_START_END`, START and END in seconds or milliseconds; ids
may begin with `-` or `_` and hold both.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from aemjax.data.clips import Clip, Listing, by_stem, open_text, read_csv
from aemjax.data.folders import AnyPath, files_below
from aemjax.data.packed import row_source

SPLITS = {
    "unbalanced_train": "unbalanced_train_segments.csv",
    "balanced_train": "balanced_train_segments.csv",
    "eval": "eval_segments.csv",
}
CLASSES_FILE = "class_labels_indices.csv"
# The folders of the parquet files.
PARQUET_SPLITS = {
    "unbal_train": "unbalanced_train",
    "bal_train": "balanced_train",
    "eval": "eval",
}


class Segment(NamedTuple):
    """A line of a segments csv; `where` is for messages."""

    where: str
    split: str
    ytid: str
    start_s: float
    end_s: float
    mids: Sequence[str]


def read(source: AnyPath) -> Listing:
    """Lists every segment of the csv files that are present.

    Without any csv of segments, those of the parquet files are listed.

    Raises:
      ValueError: if the class list is missing, there are neither segment lists nor
        parquet files, or a segment names an unknown class.
    """
    numbers, names = _classes(source / CLASSES_FILE)
    tables = {s: source / f for s, f in SPLITS.items() if (source / f).is_file()}
    found = files_below(source)
    parquet = [file for file in found if file.endswith(".parquet")]
    if tables:
        files = by_stem(found)
        rows = {
            segment.ytid: place for file in parquet for segment, place in _rows(file)
        }
        placed = (
            (segment, _find(files, segment) or rows.get(segment.ytid))
            for split, path in tables.items()
            for segment in _segments(split, path)
        )
    elif parquet:
        placed = (pair for file in parquet for pair in _rows(file))
    else:
        raise ValueError(
            f"{source} holds none of {sorted(SPLITS.values())}, and no parquet files"
        )
    return Listing(
        label_names=tuple(names),
        clips=tuple(_clip(segment, place, numbers) for segment, place in placed),
    )


def _clip(segment: Segment, place: str | None, numbers: Mapping[str, int]) -> Clip:
    if unknown := [mid for mid in segment.mids if mid not in numbers]:
        raise ValueError(
            f"{segment.where}: unknown classes {unknown}; {CLASSES_FILE} lists "
            f"{len(numbers)}"
        )
    return Clip(
        id=f"{segment.ytid}_{segment.start_s:g}",
        source=place,
        labels=tuple(sorted({numbers[mid] for mid in segment.mids})),
        split=segment.split,
        group=segment.ytid,
    )


def _classes(path: AnyPath) -> tuple[dict[str, int], list[str]]:
    rows = sorted(
        read_csv(path, ("index", "mid", "display_name"), whole=("index",)),
        key=lambda row: int(row["index"]),
    )
    if [int(row["index"]) for row in rows] != list(range(len(rows))):
        raise ValueError(f"{path}: indices are not 0..{len(rows) - 1}, each once")
    mids = {row["mid"]: int(row["index"]) for row in rows}
    return mids, [row["display_name"] for row in rows]


def _segments(split: str, path: AnyPath) -> Iterator[Segment]:
    """Official files begin with three `#` lines; copies with one header line circulate."""
    with open_text(path) as file:
        for line, row in enumerate(csv.reader(file, skipinitialspace=True), start=1):
            if not row or row[0].startswith("#") or row[0] == "YTID":
                continue
            where = f"{path}:{line}"
            try:
                ytid, start, end, mids = row
                times = float(start), float(end)
            except ValueError as error:
                raise ValueError(
                    f"{where}: {row} is not 'YTID, start, end, \"mid,mid\"'"
                ) from error
            yield Segment(where, split, ytid, *times, mids.split(","))


def _rows(file: str) -> Iterator[tuple[Segment, str]]:
    """The segments of a parquet file, each with its place; starts are not in it."""
    folder = PurePath(file).parent.name
    if folder not in PARQUET_SPLITS:
        raise ValueError(
            f"{file} lies in a folder {folder!r}, expected {sorted(PARQUET_SPLITS)}: its "
            "name is the split's"
        )
    try:
        table = pq.read_table(file, columns=["video_id", "labels"])
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"{file} cannot be read: {error}; expected a parquet file with the columns "
            "video_id, audio and labels; fetch it again"
        ) from error
    columns = table["video_id"].to_pylist(), table["labels"].to_pylist()
    for row, (ytid, mids) in enumerate(zip(*columns, strict=True)):
        place = row_source(file, row)
        if not ytid or not mids:
            raise ValueError(
                f"{place}: video_id is {ytid!r} and labels {mids!r}, expected both; "
                "fetch the file again"
            )
        yield Segment(place, PARQUET_SPLITS[folder], ytid, 0.0, 10.0, mids), place


def _find(files: Mapping[str, str], segment: Segment) -> str | None:
    """The segment's file under any of the names in use."""
    times = [
        (pattern.format(segment.start_s * scale), pattern.format(segment.end_s * scale))
        for pattern, scale in (("{:.0f}", 1), ("{:.0f}", 1000), ("{:.3f}", 1))
    ]
    for stem in (segment.ytid, f"Y{segment.ytid}"):
        names = [stem]
        for start, end in times:
            names += [f"{stem}_{start}", f"{stem}_{start}_{end}"]
        for name in names:
            if name in files:
                return files[name]
    return None
