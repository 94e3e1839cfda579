"""CED's stored outputs (Dinkel et al., ICASSP 2024): `logits.zip`, or the folder in it.

For each of several passes over AudioSet, `logits_epEPOCH_RANK.h5` holds the 20 highest
sigmoid outputs of every crop ("topk_values", "topk_indexes"), and a parquet file of the
same name the file that each crop is from (`save_logits.py` of RicherMans/CED). A clip of
10 s is one crop in every pass, shifted and masked at random. Its outputs are taken to be
the mean over its crops: the binary cross-entropy is linear in them, so this equals, on
average, CED's way of taking one pass after the other. All other classes are 0, as there
(`label_type` is "zero" in `utils.py`, and no training config changes it).
"""

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int
from scipy.special import expit, logit

from aemjax.data.logit_files import (
    AUDIOSET_CLASSES,
    Read,
    check_audioset,
    clip_keys,
    find,
    youtube_ids,
)
from aemjax.data.prepared import PreparedSet


def open_ced(
    path: Path, data: PreparedSet
) -> tuple[Int[np.ndarray, "clips"], Read | None]:
    """(place of each clip or -1, how to read places) of every HDF5 file below a folder.

    Nothing reads places where there are none. What is about clips of the set is copied to a temporary file without a name, for
    single rows of HDF5 read too slowly: 80 bytes a crop.

    Raises:
      ValueError: if a file is damaged, or the set has other classes.
      ImportError: if h5py is not installed.
    """
    check_audioset(path, data)
    keys = clip_keys(data)
    rows, k = [], 0
    with tempfile.TemporaryFile() as values, tempfile.TemporaryFile() as indexes:
        for file in _h5_files(path):
            names, own_values, own_indexes = _read_h5(file)
            k = k or own_values.shape[1]
            if own_values.shape[1] != k:
                raise ValueError(
                    f"{path}: {file.name} holds the {own_values.shape[1]} highest "
                    f"outputs of a crop, others {k}; name the folder of one teacher"
                )
            found = find(youtube_ids(names), keys)
            values.write(own_values[found >= 0].astype(np.float16).tobytes())
            indexes.write(own_indexes[found >= 0].astype(np.int16).tobytes())
            rows.append(found[found >= 0])
        rows = np.concatenate([*rows, np.zeros(0, np.int32)])
        counts = np.bincount(rows, minlength=len(data))
        places = np.where(counts > 0, np.arange(len(data)), -1)
        if not len(rows):  # an empty file cannot be mapped
            return places, None
        values.flush()
        indexes.flush()
        shape = (len(rows), k)
        read = _reader(
            np.memmap(values, np.float16, "r", shape=shape),
            np.memmap(indexes, np.int16, "r", shape=shape),
            np.argsort(rows, kind="stable"),
            np.append(0, np.cumsum(counts)),
        )
    return places, read


def _reader(
    values: np.ndarray, indexes: np.ndarray, order: np.ndarray, begins: np.ndarray
) -> Read:
    """Means over crops; those of row i are order[begins[i]:begins[i + 1]]."""

    def read(rows: np.ndarray, temperature: float) -> np.ndarray:
        counts = begins[rows + 1] - begins[rows]
        owner = np.repeat(np.arange(len(rows)), counts)
        skip = begins[rows] - (np.cumsum(counts) - counts)
        crops = order[np.arange(len(owner)) + skip[owner]]
        logits = logit(values[crops].astype(np.float32)) / np.float32(temperature)
        outputs = expit(logits) / counts[owner, None]
        shape = (len(rows), AUDIOSET_CLASSES)
        at = AUDIOSET_CLASSES * owner[:, None] + indexes[crops]
        sums = np.bincount(at.ravel(), outputs.ravel(), minlength=np.prod(shape))
        return sums.reshape(shape)

    return read


def _h5_files(path: Path) -> Iterator[Path]:
    """Every HDF5 file, its parquet file beside it; a zip's are unpacked one by one."""
    if path.is_dir():
        yield from sorted(path.rglob("*.h5"))
        return
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".h5"))
        if not names:
            raise ValueError(f"{path} holds no .h5 files; expected CED's logits.zip")
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                with contextlib.suppress(KeyError):  # `_read_h5` misses it
                    archive.extract(name.removesuffix("h5") + "parquet", folder)
                yield Path(archive.extract(name, folder))


def _read_h5(file: Path) -> tuple[pa.ChunkedArray, np.ndarray, np.ndarray]:
    """(names "n", values "n 20", indexes "n 20") of the crops in a file, checked."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError("CED's logits are HDF5 files, which need h5py") from error
    try:
        table = pq.read_table(file.with_suffix(".parquet"), columns=["filename"])
        names = table["filename"]
        with h5py.File(file) as stored:
            values, indexes = stored["topk_values"][:], stored["topk_indexes"][:]
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ValueError(
            f"{file}, or the parquet file beside it, is missing or damaged ({error}); "
            "fetch them again"
        ) from error
    if values.ndim != 2 or not values.shape == indexes.shape == (
        len(names),
        values.shape[1],
    ):
        raise ValueError(
            f"{file}: values {values.shape}, classes {indexes.shape} and {len(names)} "
            "names do not fit; fetch them again"
        )
    sound = (values >= 0) & (values <= 1) & (indexes >= 0)
    sound = (sound & (indexes < AUDIOSET_CLASSES)).all(axis=1)
    if not sound.all():
        raise ValueError(
            f"{file}: {names[int(np.argmin(sound))].as_py()!r} has outputs that are no "
            f"probabilities, or classes outside 0..{AUDIOSET_CLASSES - 1}; fetch it again"
        )
    return names, values, indexes
