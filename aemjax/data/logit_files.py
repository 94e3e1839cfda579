"""Arrays of logits on disk, one row per clip: our own, and EfficientAT's.

Our own is the folder that `aemjax embed --logits` writes; its clips are matched by id.

EfficientAT's (Schmid et al., ICASSP 2023) is `passt_enemble_logits_mAP_495.npy`, logits
"n 527" of AudioSet's classes, and `fname_to_index.pkl`, {YouTube id: row}, a dict of
plain strings and numbers: what else a pickle may hold is not run. Copies of the latter
fetched before 20 February 2023 name the wrong rows (issue 7 of fschmid56/EfficientAT).
"""

import codecs
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Int
from scipy.special import expit, softmax

from aemjax.data.prepared import PreparedSet

# Of a folder that `aemjax embed` writes.
ABOUT, INDEX, LOGITS = "about.json", "index.parquet", "logits.npy"
EFFICIENTAT_LOGITS = "passt_enemble_logits_mAP_495.npy"
EFFICIENTAT_INDEX = "fname_to_index.pkl"

AUDIOSET_CLASSES = 527
# Enough of them to tell AudioSet's order from another, such as the alphabet's.
AUDIOSET_ANCHORS = {0: "Speech", 137: "Music", 526: "Field recording"}

# [Y]YTID[_START[_END]][.wav], in any folder.
YOUTUBE_NAME = r"^(?:.*/)?Y?(?P<ytid>[\w-]{11})(?:_[\d.]+){0,2}(?:\.\w+)?$"

# (places "n", temperature) -> outputs "n k".
Read = Callable[[np.ndarray, float], np.ndarray]
Names = pa.Array | pa.ChunkedArray

# NumPy's numbers are pickled by these three.
_PLAIN = {
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "scalar"): np.int64(0).__reduce__()[0],
    ("numpy._core.multiarray", "scalar"): np.int64(0).__reduce__()[0],
    ("_codecs", "encode"): codecs.encode,
}


def open_own(folder: Path, data: PreparedSet) -> tuple[Int[np.ndarray, "clips"], Read]:
    """(place of each clip or -1, how to read places) of what `aemjax embed` wrote.

    Raises:
      ValueError: if it is damaged, has no logits, or other classes than the set.
    """
    if not (folder / LOGITS).is_file():
        raise ValueError(
            f"{folder} holds embeddings without logits; make it with `aemjax embed "
            "--logits`"
        )
    try:
        about = json.loads((folder / ABOUT).read_text())
        names, multi_label = about["labels"], about["multi_label"]
        told = _describe(names, multi_label)
        ids = pq.read_table(folder / INDEX, columns=["id"])["id"]
    # pyarrow's are among them.
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{folder} is damaged ({error!r}); make it again") from error
    if names != list(data.label_names) or multi_label != data.multi_label:
        raise ValueError(
            f"the teacher in {folder} has {told}; {data.path} "
            f"has {_describe(data.label_names, data.multi_label)}; they must be the "
            "same, in the same order"
        )
    places = find(pa.array(data.id), ids)
    array = _map_array(folder / LOGITS, (len(ids), len(names)))
    return places, _reader(array, multi_label=multi_label)


def open_efficientat(
    path: Path, data: PreparedSet
) -> tuple[Int[np.ndarray, "clips"], Read]:
    """(place of each clip or -1, how to read places) of EfficientAT's array.

    Raises:
      ValueError: if it or its index is damaged, or the set has other classes.
    """
    check_audioset(path, data)
    index = path.with_name(EFFICIENTAT_INDEX)
    if not index.is_file():
        raise ValueError(
            f"{index} is missing; it says whose logits the rows of {path.name} are"
        )
    names, numbers = _read_index(index)
    array = _map_array(path, (None, AUDIOSET_CLASSES))
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(array):
        raise ValueError(
            f"{index} names the rows {numbers.min()} to {numbers.max()}, {path} has "
            f"{len(array)}; fetch both again"
        )
    found = find(clip_keys(data), youtube_ids(names))
    return np.append(numbers, -1)[found], _reader(array, multi_label=True)


def _read_index(path: Path) -> tuple[pa.Array, np.ndarray]:
    try:
        with path.open("rb") as file:
            found = dict(_Unpickler(file).load())
        names = pa.array(list(found), pa.string())
        return names, np.array(list(found.values()), np.int64)
    # What a damaged pickle raises depends on where the damage is.
    except (
        *(pickle.UnpicklingError, EOFError, ValueError, TypeError),
        *(AttributeError, IndexError, KeyError),
    ) as error:
        raise ValueError(
            f"{path} is not a dict of names and numbers ({error}); fetch it again"
        ) from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _PLAIN[module, name]


def check_audioset(path: Path, data: PreparedSet) -> None:
    """Refuses a set of other classes than AudioSet's, or in another order.

    Args:
      path: of logits in that order.

    Raises:
      ValueError: saying what the set has.
    """
    names = data.label_names
    if (
        len(names) != AUDIOSET_CLASSES
        or not data.multi_label
        or any(names[i] != name for i, name in AUDIOSET_ANCHORS.items())
    ):
        raise ValueError(
            f"{path} is about AudioSet's {AUDIOSET_CLASSES} classes in the order of its "
            f"class_labels_indices.csv; {data.path} has "
            f"{_describe(names, data.multi_label)}; use it with what `aemjax prepare "
            "audioset` makes of AudioSet"
        )


def _describe(names: Sequence[str], multi_label: bool) -> str:
    kind = "multi-label" if multi_label else "single-label"
    return f"{len(names)} {kind} classes from {names[0]!r} to {names[-1]!r}"


def youtube_ids(names: Names) -> Names:
    """The YouTube id in each name; null where there is none."""
    return pc.struct_field(pc.extract_regex(names, YOUTUBE_NAME), "ytid")


def clip_keys(data: PreparedSet) -> pa.Array:
    """YouTube ids of the rows of a set.

    Null where several clips are of one video: names do not say which of them they mean.
    """
    ids = youtube_ids(pa.table({"id": data.id})["id"]).combine_chunks()
    codes = ids.dictionary_encode().indices.fill_null(-1).to_numpy() + 1
    several = np.bincount(codes)[codes] > 1
    return pc.if_else(pa.array(several), pa.scalar(None, pa.string()), ids)


def find(names: Names, among: Names) -> Int[np.ndarray, "n"]:
    """Where each name is; -1 where it is not."""
    found = pc.index_in(names, value_set=among, skip_nulls=True)
    return found.fill_null(-1).to_numpy()


def _map_array(path: Path, shape: tuple[int | None, int]) -> np.ndarray:
    """A memory-mapped array; None stands for any number of rows."""
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read ({error}); is it whole?") from error
    rows, k = shape
    if array.shape[1:] != (k,) or rows not in (None, len(array)):
        raise ValueError(
            f"{path} has the shape {array.shape}, expected ({rows or 'clips'}, {k})"
        )
    return array


def _reader(array: np.ndarray, *, multi_label: bool) -> Read:
    def read(places: np.ndarray, temperature: float) -> np.ndarray:
        logits = array[places].astype(np.float32) / np.float32(temperature)
        return expit(logits) if multi_label else softmax(logits, axis=-1)

    return read
