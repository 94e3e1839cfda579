"""Which rows of a prepared set train and which evaluate."""

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from aemjax.data.prepared import PreparedSet


def by_split(data: PreparedSet, spec: str) -> np.ndarray:
    """Rows of the official splits named in "a+b"; "a:1,2" is folds 1 and 2 of a.

    Raises:
      ValueError: if the set has no such split or fold.
    """
    chosen = np.zeros(len(data), bool)
    for part in spec.split("+"):
        split, _, folds = part.partition(":")
        for fold in folds.split(","):
            rows = data.split == split
            if folds:
                rows &= data.fold.astype(str) == fold
            if not rows.any():
                known = {
                    name: sorted(set(data.fold[data.split == name].tolist()))
                    for name in data.manifest["splits"]
                }
                raise ValueError(
                    f"{data.path} has no clips in {split + (folds and ':' + fold)!r}; "
                    f"its splits and folds: {known}"
                )
            chosen |= rows
    return np.flatnonzero(chosen)


def check_disjoint(
    data: PreparedSet, train_rows: np.ndarray, eval_rows: np.ndarray
) -> None:
    """Refuses to evaluate on what was trained on.

    Raises:
      ValueError: if a clip, or a group (recording, patient, user), is on both sides.
    """
    for name, values in (("clips", data.id), ("groups", data.group)):
        shared = np.intersect1d(values[train_rows], values[eval_rows])
        shared = shared[shared != ""]
        if len(shared):
            raise ValueError(
                f"{data.path}: {len(shared)} {name} are both trained and evaluated on, "
                f"the first: {str(shared[0])!r}; name other splits or folds"
            )


def by_fold(
    data: PreparedSet, fold: int, *, folds: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(training rows, evaluation rows) with one fold held out.

    Official folds where the set has them; else `folds` stratified ones drawn by `seed`,
    with no group on both sides.

    Raises:
      ValueError: if there is no such fold, or too few clips of a class to draw folds.
    """
    numbers = data.fold if data.has_folds else _drawn_folds(data, folds, seed)
    known = sorted(set(numbers.tolist()))
    if fold not in known:
        raise ValueError(f"{data.path} has no fold {fold}; it has {known}")
    return np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)


def fold_numbers(data: PreparedSet, *, folds: int = 5) -> list[int]:
    """The folds to go through: the official ones, or 1..folds."""
    if data.has_folds:
        return sorted(set(data.fold.tolist()))
    return list(range(1, folds + 1))


def _drawn_folds(data: PreparedSet, folds: int, seed: int) -> np.ndarray:
    if len(data.manifest["splits"]) > 1:
        raise ValueError(
            f"{data.path} has the splits {sorted(data.manifest['splits'])}; folds would "
            "mix them: prepare the one to fine-tune on as a set of its own"
        )
    # Of several labels the first counts; some class may never be the first.
    classes = data.labels_multi_hot(np.arange(len(data))).argmax(axis=1)
    present, clips = np.unique(classes, return_counts=True)
    rarest = clips.argmin()
    if clips[rarest] < folds:
        raise ValueError(
            f"{data.path}: class {data.label_names[present[rarest]]!r} has "
            f"{clips[rarest]} clips, too few for {folds} stratified folds; ask for fewer"
        )
    # A clip without a group is a group of its own.
    groups = np.where(data.group == "", data.id, data.group)
    drawer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    numbers = np.zeros(len(data), np.int32)
    for number, (_, held_out) in enumerate(drawer.split(classes, classes, groups), 1):
        numbers[held_out] = number
    return numbers
