"""Which rows of a prepared set train and which evaluate.

A protocol divides a set once or several times; `divide` gives its divisions::

    official   the dataset's own folds, each held out in turn, or its own lists
    kfold      k stratified folds drawn by a seed
    draws      k independent stratified draws of 80 % to train on and 20 % to evaluate
    lists      the splits that the caller names

Drawn divisions keep every group (recording, patient, user) on one side unless told
otherwise. How the dataset's own lists treat groups is its authors' affair: what they
share is counted, so that a result can say it.
"""

import dataclasses

import numpy as np
import scipy.sparse
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from aemjax.data.prepared import PreparedSet

PROTOCOLS = ("official", "kfold", "draws", "lists")
EVAL_SHARE = 0.2  # of `draws`
# Of so many draws of groups the best is taken, or of fewer if that is many groups in all.
DRAWS = 100
GROUPS_TRIED = 1_000_000


@dataclasses.dataclass(frozen=True)
class Division:
    """One way to divide a set.

    Attributes:
      number: from 1; of the fold held out, or of the draw.
      train, eval: rows.
      shared_groups: groups that have clips on both sides.
      validation: rows, held out of `train`, to select and calibrate on; None: `eval`
        serves for that too.
    """

    number: int
    train: np.ndarray
    eval: np.ndarray
    shared_groups: tuple[str, ...] = ()
    validation: np.ndarray | None = None

    @property
    def chosen_on(self) -> np.ndarray:
        """The rows on which the best step is chosen."""
        return self.eval if self.validation is None else self.validation


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a set is divided.

    Attributes:
      name: one of `PROTOCOLS`.
      folds: how many folds or draws; of no matter to the others.
      seed: of folds and draws.
      grouped: whether folds and draws keep groups on one side.
      train, eval: the splits of `lists`, as `by_split` takes them.
    """

    name: str
    folds: int = 5
    seed: int = 0
    grouped: bool = True
    train: str = ""
    eval: str = ""

    def __post_init__(self):
        if self.name not in PROTOCOLS:
            raise ValueError(
                f"unknown protocol {self.name!r}; known: {list(PROTOCOLS)}"
            )
        if self.name in ("kfold", "draws") and self.folds < 2:
            raise ValueError(f"folds is {self.folds}, expected at least 2")
        if (self.name == "lists") != bool(self.train and self.eval):
            raise ValueError(
                f"protocol {self.name!r} with train {self.train!r} and eval "
                f"{self.eval!r}: 'lists', and no other, takes the names of both"
            )

    def describe(self, data: PreparedSet) -> str:
        """The division in words, for results."""
        if self.name == "lists":
            return f"{self.train} -> {self.eval}"
        if self.name == "official":
            if data.has_folds:
                return f"official {len(set(data.fold.tolist()))} folds"
            return "official {} -> {}".format(*data.manifest["official"])
        what = {
            "kfold": f"{self.folds} stratified folds",
            "draws": f"{self.folds} stratified 80/20 draws",
        }[self.name]
        groups = "no group on both sides" if self.grouped else "groups disregarded"
        return f"{what} by seed {self.seed}, {groups}"


def divide(data: PreparedSet, protocol: Protocol) -> list[Division]:
    """Every division of the set that the protocol makes.

    Raises:
      ValueError: if the set has no such splits or folds, or too few clips to draw them.
    """
    if protocol.name == "official":
        return _official(data)
    if protocol.name == "lists":
        train = by_split(data, protocol.train)
        evaluated = by_split(data, protocol.eval)
        check_disjoint(data, train, evaluated)
        return [Division(1, train, evaluated)]
    # Drawn from the clips in the order of their ids: where they lie does not matter.
    order = np.argsort(data.id)
    draw = {"kfold": _kfold, "draws": _draws}[protocol.name]
    return [
        _division(data, number, np.sort(order[train]), np.sort(order[evaluated]))
        for number, (train, evaluated) in enumerate(draw(data, order, protocol), 1)
    ]


def hold_out(
    data: PreparedSet,
    division: Division,
    *,
    share: int | float,
    seed: int,
    grouped: bool,
) -> Division:
    """The division with a share of its training clips set aside for validation.

    Drawn with about that share of every class and, if grouped, no group on both sides.

    Args:
      grouped: False disregards groups.

    Raises:
      ValueError: on a share outside (0, 1), or too few groups.
    """
    if not 0 < share < 1:
        raise ValueError(f"validation_share is {share}, expected between 0 and 1")
    rows = division.train[np.argsort(data.id[division.train])]
    names = group_names(data, rows) if grouped else data.id[rows]
    groups = np.unique(names, return_inverse=True)[1]
    if groups.max() < 1:
        raise ValueError(
            f"{data.path}: all {len(rows)} clips to train on are of one group; set "
            "data.validation_share to 0"
        )
    rng = np.random.default_rng((seed, division.number))
    drawn = np.isin(groups, _draw_groups(rng, groups, data.labels_of(rows), share))
    train = np.sort(rows[~drawn])
    return dataclasses.replace(
        division,
        train=train,
        validation=np.sort(rows[drawn]),
        shared_groups=_shared(data.group, train, division.eval),
    )


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
        shared = _shared(values, train_rows, eval_rows)
        if shared:
            raise ValueError(
                f"{data.path}: {len(shared)} {name} are both trained and evaluated on, "
                f"the first: {shared[0]!r}; name other splits or folds"
            )


def _shared(values: np.ndarray, train: np.ndarray, evaluated: np.ndarray):
    shared = set(values[train].tolist()) & set(values[evaluated].tolist())
    return tuple(sorted(shared - {""}))


def _division(
    data: PreparedSet, number: int, train: np.ndarray, evaluated: np.ndarray
) -> Division:
    return Division(number, train, evaluated, _shared(data.group, train, evaluated))


def _official(data: PreparedSet) -> list[Division]:
    if data.has_folds:
        return [
            _division(
                data,
                fold,
                np.flatnonzero(data.fold != fold),
                np.flatnonzero(data.fold == fold),
            )
            for fold in sorted(set(data.fold.tolist()))
        ]
    if data.manifest["official"] is None:
        raise ValueError(
            f"{data.path} has neither official folds nor official lists; set "
            "data.protocol to 'kfold' or 'draws', or to 'lists' with data.train and "
            f"data.eval among {sorted(data.manifest['splits'])}"
        )
    train, evaluated = (by_split(data, spec) for spec in data.manifest["official"])
    return [_division(data, 1, train, evaluated)]


def _kfold(data: PreparedSet, order: np.ndarray, protocol: Protocol):
    classes = _classes(data, at_least=protocol.folds)[order]
    kind = StratifiedGroupKFold if protocol.grouped else StratifiedKFold
    drawer = kind(protocol.folds, shuffle=True, random_state=protocol.seed)
    groups = _groups(data, protocol.folds)[order] if protocol.grouped else None
    return drawer.split(classes, classes, groups)


def _draws(data: PreparedSet, order: np.ndarray, protocol: Protocol):
    """Independent draws."""
    at_least = round(1 / EVAL_SHARE)
    classes = _classes(data, at_least=at_least)[order]
    if not protocol.grouped:
        drawer = StratifiedShuffleSplit(
            protocol.folds, test_size=EVAL_SHARE, random_state=protocol.seed
        )
        yield from drawer.split(classes, classes)
        return
    groups = np.unique(_groups(data, at_least)[order], return_inverse=True)[1]
    labels = data.labels_of(order)
    for number in range(protocol.folds):
        rng = np.random.default_rng((protocol.seed, number))
        drawn = np.isin(groups, _draw_groups(rng, groups, labels, EVAL_SHARE))
        yield np.flatnonzero(~drawn), np.flatnonzero(drawn)


def _draw_groups(
    rng: np.random.Generator,
    groups: np.ndarray,
    labels: tuple[np.ndarray, np.ndarray],
    share: float,
) -> list[int]:
    """Groups, not all, that have about such a share of the clips of every class.

    One after the other in random order is taken where that brings the classes nearer to
    their share: where every group is one clip, the draw is stratified. Of several such
    draws the best is returned, or the first that is within a clip. scikit-learn has no
    such draw: its folds by group and class put the same large groups together whatever
    the seed, and its draws by group disregard classes.

    Args:
      groups: of each clip, from 0.
      labels: of `PreparedSet.labels_of`.
    """
    clips = np.append(labels[0], np.arange(len(groups)))
    present = np.unique(labels[1], return_inverse=True)[1]
    classes = np.append(present + 1, np.zeros(len(groups), int))  # 0: of every clip
    table = scipy.sparse.coo_array((np.ones(len(clips)), (groups[clips], classes)))
    table = table.tocsr()  # how often a group has a class
    total = table.sum(axis=0)

    def draw() -> tuple[float, list[int]]:
        missing = share * total
        order = rng.permutation(table.shape[0]).tolist()
        drawn = []
        for group in order:
            own = slice(*table.indptr[group : group + 2])
            of, clips = table.indices[own], table.data[own]
            # By how much the sum over classes of (missing / total)^2 would change.
            change = clips * (clips - 2 * missing[of]) / total[of] ** 2
            if change.sum() < 0:
                missing[of] -= clips
                drawn.append(group)
        exact = abs(missing).max() < 1
        deviation = 0.0 if exact else (abs(missing) / total).max()
        return deviation, drawn[: len(order) - 1] or order[:1]

    draws = [draw()]
    while min(draws)[0] and len(draws) < min(DRAWS, GROUPS_TRIED / table.shape[0]):
        draws.append(draw())
    return min(draws)[1]


def group_names(data: PreparedSet, rows: np.ndarray) -> np.ndarray:
    """Of each row its group; a clip without one is a group of its own."""
    return np.where(data.group[rows] == "", data.id[rows], data.group[rows])


def _groups(data: PreparedSet, at_least: int) -> np.ndarray:
    groups = group_names(data, np.arange(len(data)))
    if (count := len(np.unique(groups))) < at_least:
        raise ValueError(
            f"{data.path} has {count} groups, too few for {at_least} folds with none on "
            "both sides; ask for fewer, or disregard them with data.grouped=False"
        )
    return groups


def _classes(data: PreparedSet, *, at_least: int) -> np.ndarray:
    """Of each clip the class by which it is drawn: of several, that of fewest clips.

    Where so few are drawn by a class that folds could not share them, they count as of
    the class by which most are.
    """
    clips = np.bincount(data.label_ids, minlength=len(data.label_names))
    present = np.flatnonzero(clips)
    rarest = present[clips[present].argmin()]
    if clips[rarest] < at_least:
        raise ValueError(
            f"{data.path}: class {data.label_names[rarest]!r} has {clips[rarest]} clips, "
            f"too few for {at_least} stratified folds; ask for fewer, or name splits with "
            "protocol 'lists'"
        )
    by_clips = np.argsort(clips, kind="stable")
    rank = np.argsort(by_clips)[data.label_ids]
    classes = by_clips[np.minimum.reduceat(rank, data.label_offsets[:-1])]
    drawn_by = np.bincount(classes)
    return np.where(drawn_by[classes] < at_least, drawn_by.argmax(), classes)
