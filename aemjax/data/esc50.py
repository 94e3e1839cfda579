"""ESC-50 and ESC-10 (K. J. Piczak, ACM Multimedia 2015), as their authors ship them.

`meta/esc50.csv` and `audio/{fold}-{clip}-{take}-{target}.wav`. The five official folds
keep every source recording on one side; they are never reshuffled.
"""

import functools
from pathlib import Path

from aemjax.data.clips import Clip, Listing, files_by_stem, read_csv

COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file")
WHOLE = ("fold", "target")


def read(source: Path, *, esc10_only: bool = False) -> Listing:
    """Lists the clips of an official folder.

    Targets are renumbered from 0 in the order of the official ones, so ESC-10 has
    labels 0..9.

    Raises:
      ValueError: if `meta/esc50.csv` is missing, lacks a column, or contradicts itself.
    """
    rows = list(read_csv(source / "meta" / "esc50.csv", COLUMNS, whole=WHOLE))
    if esc10_only:
        rows = [row for row in rows if row["esc10"].lower() == "true"]
    if not rows:
        raise ValueError(f"{source}/meta/esc50.csv lists no clips to use")
    categories = {int(row["target"]): row["category"] for row in rows}
    for row in rows:
        if categories[int(row["target"])] != row["category"]:
            raise ValueError(
                f"{source}/meta/esc50.csv: target {row['target']} is both "
                f"{categories[int(row['target'])]!r} and {row['category']!r}"
            )
    numbers = {target: i for i, target in enumerate(sorted(categories))}
    files = files_by_stem(source / "audio")

    def clip(row: dict[str, str]) -> Clip:
        stem = Path(row["filename"]).stem
        return Clip(
            id=stem,
            source=str(files[stem]) if stem in files else None,
            labels=(numbers[int(row["target"])],),
            fold=int(row["fold"]),
            group=row["src_file"],
        )

    return Listing(
        label_names=tuple(categories[target] for target in sorted(categories)),
        clips=tuple(clip(row) for row in rows),
    )


read_esc10 = functools.partial(read, esc10_only=True)
