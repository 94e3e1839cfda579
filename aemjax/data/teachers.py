"""Stored outputs of a teacher, matched to the clips of a prepared set."""

import hashlib
import logging
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int

from aemjax.data import ced_logits, logit_files
from aemjax.data.folders import AnyPath, as_path, is_remote
from aemjax.data.logit_files import Read
from aemjax.data.prepared import PreparedSet

SAMPLE_BYTES = 1 << 16


class StoredTeacher:
    """A teacher's outputs for the clips of a prepared set; threads may share it.

    Attributes:
      coverage: share of the set's clips that have any.
      fingerprint: of its files, wherever they lie: names, sizes, and how they begin and
        end.
    """

    coverage: float
    fingerprint: str

    def __init__(
        self,
        path: Path,
        data: PreparedSet,
        places: Int[np.ndarray, "clips"],
        read: Read,
        *,
        temperature: int | float,
    ):
        """Joins what a file holds to a set.

        Args:
          places: of each clip in the file; -1: it has none.
          read: (places, temperature) -> outputs.
        """
        self.coverage = float(np.mean(places >= 0))
        self.fingerprint = _fingerprint(path)
        self._path = path
        self._data = data
        self._places = places
        self._read = read
        self._temperature = float(temperature)

    def probabilities(
        self, rows: Int[np.ndarray, "n"]
    ) -> tuple[Float32[np.ndarray, "n k"], Bool[np.ndarray, "n"]]:
        """(outputs in [0, 1], whether the clip has any; where not, they are 0).

        Sigmoid outputs of a multi-label teacher, softmax outputs of another.

        Args:
          rows: of the prepared set that it was opened for.

        Raises:
          ValueError: if a clip's logits are not numbers.
        """
        places = self._places[rows]
        has = places >= 0
        result = np.zeros((len(rows), len(self._data.label_names)), np.float32)
        result[has] = self._read(places[has], self._temperature)
        if not (sound := np.isfinite(result).all(axis=1)).all():
            clip = str(self._data.id[rows[~sound][0]])
            raise ValueError(
                f"{self._path}: the logits of clip {clip!r} are not finite; fetch or make "
                "them again"
            )
        return result, has


def open_teacher(
    path: str | AnyPath, data: PreparedSet, *, temperature: int | float = 1.0
) -> StoredTeacher:
    """Opens the stored outputs of a teacher for a prepared set; logs how many match.

    Args:
      path: a folder written by `aemjax embed --logits`; EfficientAT's or CED's files,
        as `logit_files` and `ced_logits` say.
      temperature: logits are divided by it.

    Raises:
      ValueError: if it is none of the three kinds, damaged, about other classes, or
        about none of the clips.
      ImportError: if it is CED's, and h5py is not installed.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature}, expected a positive number")
    if is_remote(path := as_path(path)):
        raise ValueError(
            f"{path} is not a local folder; copy it to one, for it is memory-mapped"
        )
    folder = path.parent if path.suffix == ".npy" else path
    array = path if path.suffix == ".npy" else path / logit_files.EFFICIENTAT_LOGITS
    if (folder / logit_files.ABOUT).is_file():
        places, read = logit_files.open_own(folder, data)
    elif array.is_file():
        places, read = logit_files.open_efficientat(array, data)
    elif zipfile.is_zipfile(path) or any(path.rglob("*.h5")):
        places, read = ced_logits.open_ced(path, data)
    else:
        raise ValueError(
            f"{path} holds no teacher's logits; expected a folder written by `aemjax "
            f"embed --logits`, a folder with EfficientAT's "
            f"{logit_files.EFFICIENTAT_LOGITS} and {logit_files.EFFICIENTAT_INDEX}, or "
            "CED's logits.zip or its folder"
        )
    if not (places >= 0).any():
        raise ValueError(
            f"{path} has logits of none of the {len(data)} clips of {data.path}, such as "
            f"{str(data.id[0])!r}; are they of this dataset?"
        )
    teacher = StoredTeacher(path, data, places, read, temperature=temperature)
    _log(path, teacher, data, np.flatnonzero(places >= 0))
    return teacher


def _fingerprint(path: Path) -> str:
    found = hashlib.sha256()
    files = (
        [path] if path.is_file() else sorted(x for x in path.rglob("*") if x.is_file())
    )
    for file in files:
        size = file.stat().st_size
        found.update(f"{file.relative_to(path)}\n{size}\n".encode())
        with file.open("rb") as stream:
            found.update(stream.read(SAMPLE_BYTES))
            stream.seek(max(0, size - SAMPLE_BYTES))
            found.update(stream.read())
    return found.hexdigest()


def _log(
    path: Path, teacher: StoredTeacher, data: PreparedSet, rows: np.ndarray
) -> None:
    """Coverage, and how well labels fit: nothing else shows that an index is shifted."""
    sample = rows[np.linspace(0, len(rows) - 1, min(1000, len(rows))).astype(int)]
    best = teacher.probabilities(sample)[0].argmax(axis=1)
    labels = data.labels_multi_hot(sample)
    fit = labels[np.arange(len(best)), best].mean()
    chance = labels[:, best].mean()
    logger = logging.getLogger(__name__)
    logger.info(
        "teacher %s: logits of %d of %d clips (%.1f %%); its highest class is a label of "
        "%.1f %% of them, by chance of %.1f %%",
        *(path, len(rows), len(data), 100 * teacher.coverage, 100 * fit, 100 * chance),
    )
    if fit <= chance + 4 * np.sqrt(chance * (1 - chance) / len(best)):
        logger.warning(
            "teacher %s knows the labels hardly better than chance; are these the logits "
            "of these clips, and is it trained?",
            path,
        )
