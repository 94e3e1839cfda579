"""AudioSet (Gemmeke et al., ICASSP 2017): the official csv files and fetched audio.

Audio is one file per segment anywhere below the folder. Downloaders name them
`YTID`, `Y` + YTID, `YTID_START` or `YTID_START_END`, START and END in seconds or
milliseconds; ids may begin with `-` or `_` and hold both.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from aemjax.data.clips import Clip, Listing, files_by_stem, read_csv

SPLITS = {
    "unbalanced_train": "unbalanced_train_segments.csv",
    "balanced_train": "balanced_train_segments.csv",
    "eval": "eval_segments.csv",
}
CLASSES_FILE = "class_labels_indices.csv"


def read(source: Path) -> Listing:
    """Lists every segment of the csv files that are present.

    Raises:
      ValueError: if the class list or every segment list is missing, or a segment
        names an unknown class.
    """
    mids, names = _classes(source / CLASSES_FILE)
    present = {s: source / f for s, f in SPLITS.items() if (source / f).is_file()}
    if not present:
        raise ValueError(f"{source} holds none of {sorted(SPLITS.values())}")
    files = files_by_stem(source)
    clips = []
    for split, path in present.items():
        for line, (ytid, start_s, end_s, labels) in _segments(path):
            if unknown := [mid for mid in labels if mid not in mids]:
                raise ValueError(
                    f"{path}:{line}: unknown classes {unknown}; {CLASSES_FILE} lists "
                    f"{len(mids)}"
                )
            found = _find(files, ytid, start_s, end_s)
            clips.append(
                Clip(
                    id=f"{ytid}_{start_s:g}",
                    source=str(found) if found else None,
                    labels=tuple(sorted({mids[mid] for mid in labels})),
                    split=split,
                    group=ytid,
                )
            )
    return Listing(label_names=tuple(names), clips=tuple(clips))


def _classes(path: Path) -> tuple[dict[str, int], list[str]]:
    rows = sorted(
        read_csv(path, ("index", "mid", "display_name"), whole=("index",)),
        key=lambda row: int(row["index"]),
    )
    if [int(row["index"]) for row in rows] != list(range(len(rows))):
        raise ValueError(f"{path}: indices are not 0..{len(rows) - 1}, each once")
    mids = {row["mid"]: int(row["index"]) for row in rows}
    return mids, [row["display_name"] for row in rows]


def _segments(path: Path) -> Iterator[tuple[int, tuple[str, float, float, list[str]]]]:
    """Yields (line number, (id, start_s, end_s, mids)).

    Official files begin with three `#` lines; copies with a plain header line circulate.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        for line, row in enumerate(csv.reader(file, skipinitialspace=True), start=1):
            if not row or row[0].startswith("#") or row[0] == "YTID":
                continue
            try:
                ytid, start, end, labels = row
                yield line, (ytid, float(start), float(end), labels.split(","))
            except ValueError as error:
                raise ValueError(
                    f"{path}:{line}: {row} is not 'YTID, start, end, \"mid,mid\"'"
                ) from error


def _find(files: dict[str, Path], ytid: str, start_s: float, end_s: float):
    """The segment's file under any of the names in use, or None."""
    times = [
        (pattern.format(start_s * scale), pattern.format(end_s * scale))
        for pattern, scale in (("{:.0f}", 1), ("{:.0f}", 1000), ("{:.3f}", 1))
    ]
    for stem in (ytid, f"Y{ytid}"):
        names = [stem]
        for start, end in times:
            names += [f"{stem}_{start}", f"{stem}_{start}_{end}"]
        for name in names:
            if name in files:
                return files[name]
    return None
