"""ESC-50 and ESC-10 (K. J. Piczak, ACM Multimedia 2015), as their authors ship them.

`meta/esc50.csv` and `audio/{fold}-{clip}-{take}-{target}.wav`. The five official folds
keep every source recording on one side; they are never reshuffled.
"""

import functools
from pathlib import PurePath

from aemjax.data.clips import Clip, Listing, files_by_stem, find, read_csv
from aemjax.data.folders import AnyPath

COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file")
WHOLE = ("fold", "target")
# In the order of their targets; every class has 40 clips, 8 in each fold.
CLASSES = tuple(
    """
    dog rooster pig cow frog cat hen insects sheep crow
    rain sea_waves crackling_fire crickets chirping_birds
    water_drops wind pouring_water toilet_flush thunderstorm
    crying_baby sneezing clapping breathing coughing
    footsteps laughing brushing_teeth snoring drinking_sipping
    door_wood_knock mouse_click keyboard_typing door_wood_creaks can_opening
    washing_machine vacuum_cleaner clock_alarm clock_tick glass_breaking
    helicopter chainsaw siren car_horn engine
    train church_bells airplane fireworks hand_saw
    """.split()
)
ESC10_CLASSES = tuple(CLASSES[i] for i in (0, 1, 10, 11, 12, 20, 21, 38, 40, 41))
PUBLISHED = {"full": dict.fromkeys(CLASSES, 40)}
PUBLISHED_ESC10 = {"full": dict.fromkeys(ESC10_CLASSES, 40)}


def read(source: AnyPath, *, esc10_only: bool = False) -> Listing:
    """Lists the clips of an official folder.

    Targets are renumbered from 0 in the order of the official ones, so ESC-10 has
    labels 0..9.

    Raises:
      ValueError: if `meta/esc50.csv` is missing, lacks a column, or contradicts itself.
    """
    path = find(source, "meta/esc50.csv")
    rows = list(read_csv(path, COLUMNS, whole=WHOLE))
    if esc10_only:
        rows = [row for row in rows if row["esc10"].lower() == "true"]
    if not rows:
        raise ValueError(f"{path} lists no clips to use")
    categories = {int(row["target"]): row["category"] for row in rows}
    for row in rows:
        if categories[int(row["target"])] != row["category"]:
            raise ValueError(
                f"{path}: target {row['target']} is both "
                f"{categories[int(row['target'])]!r} and {row['category']!r}"
            )
    numbers = {target: i for i, target in enumerate(sorted(categories))}
    files = files_by_stem(path.parent.parent / "audio")

    def clip(row: dict[str, str]) -> Clip:
        stem = PurePath(row["filename"]).stem
        return Clip(
            id=stem,
            source=files.get(stem),
            labels=(numbers[int(row["target"])],),
            fold=int(row["fold"]),
            group=row["src_file"],
        )

    return Listing(
        label_names=tuple(categories[target] for target in sorted(categories)),
        clips=tuple(clip(row) for row in rows),
    )


read_esc10 = functools.partial(read, esc10_only=True)
