"""Opens what `prepare` wrote: the index as arrays, the records as a grain source."""

import contextlib
import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int, Int16, Int64, UInt8

from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import records
from aemjax.data.shard_reader import ShardReader, decode_varint

# Of a manifest, all that is read of it.
_KEYS = (
    *("sample_rate", "storage", "dataset", "labels", "multi_label", "splits"),
    *("official", "normal_class", "positive_class", "published", "skipped", "checksum"),
)


def _column(name: str) -> functools.cached_property:
    """Read when it is first asked for: of millions of rows, text takes gigabytes."""
    return functools.cached_property(lambda data: data._read_column(name))


class PreparedSet:
    """A prepared set; row i of every array is record i.

    Attributes:
      path: its folder.
      manifest: what `prepare` says of it.
      label_names: class names, in label order.
      multi_label: whether a clip may have several.
      label_ids: int array of the labels of row 0, of row 1, ...; those of row i are
        label_ids[label_offsets[i]:label_offsets[i + 1]], ascending.
      id, split, group, device, source: str arrays; fold, n_samples, source_rate,
        clipped_samples: int; mean, std: float32; digest: str, equal for equal audio.
    """

    id = _column("id")
    split = _column("split")
    group = _column("group")
    device = _column("device")
    digest = _column("digest")
    source = _column("source")
    fold = _column("fold")
    clipped_samples = _column("clipped_samples")
    source_rate = _column("source_rate")

    def __init__(self, path: str | Path):
        """Opens a folder.

        Raises:
          ValueError: if it is no prepared set, or not a whole one.
        """
        self.path = Path(path)
        try:
            self.manifest = json.loads((self.path / records.MANIFEST).read_text())
        except OSError as error:
            raise ValueError(
                f"{self.path} is not a prepared set (no {records.MANIFEST}); make one "
                "with `aemjax prepare`, or finish an interrupted one by the same command"
            ) from error
        except ValueError as error:
            raise self._broken(records.MANIFEST, error) from error
        if not isinstance(self.manifest, dict):
            raise self._broken(records.MANIFEST, "no object in it")
        found = self.manifest.get("format_version")
        if found != records.FORMAT_VERSION:
            raise ValueError(
                f"{self.path} has format {found}, this version reads "
                f"{records.FORMAT_VERSION}; prepare it again"
            )
        if missing := [key for key in _KEYS if key not in self.manifest]:
            raise self._broken(records.MANIFEST, f"no {missing[0]!r} in it")
        if self.manifest["sample_rate"] != SAMPLE_RATE:
            raise ValueError(
                f"{self.path} is at {self.manifest['sample_rate']} Hz, expected "
                f"{SAMPLE_RATE}; prepare it again"
            )
        self.label_names = tuple(self.manifest["labels"])
        self.multi_label = self.manifest["multi_label"]
        self._storage = self.manifest["storage"]
        self._open_index()
        self._shards = self._open_shards()
        if len(self._shards) != len(self):
            raise ValueError(
                f"{self.path} holds {len(self._shards)} records, its index lists "
                f"{len(self)}; a shard is damaged: prepare the set again"
            )
        # Where a record's samples begin; 0 until it was read whole, and found sound.
        self._audio_begins = np.zeros(len(self), np.int32)

    def _open_index(self) -> None:
        table = self._read_index(["n_samples", "mean", "std", "labels"])
        for name in ("n_samples", "mean", "std"):
            setattr(self, name, table[name].to_numpy())
        labels = table["labels"].combine_chunks()
        self.label_ids = labels.flatten().to_numpy()
        lengths = labels.value_lengths().to_numpy()
        self.label_offsets = np.append(0, np.cumsum(lengths))

    def _read_index(self, names: Sequence[str]) -> pa.Table:
        try:
            return pq.read_table(self.path / records.INDEX, columns=list(names))
        except (OSError, ValueError) as error:  # pyarrow's are among them
            raise self._broken(records.INDEX, error) from error

    def _read_column(self, name: str) -> np.ndarray:
        column = self._read_index([name])[name].to_numpy()
        return column.astype(str) if column.dtype == object else column

    def _open_shards(self) -> ShardReader:
        paths, counts = self.shard_paths()
        try:
            return ShardReader(paths, counts)
        except RuntimeError:
            for path, count in zip(paths, counts, strict=True):
                try:  # the error does not say which
                    ShardReader([path], [count])
                except RuntimeError as error:
                    raise self._broken(Path(path).name, error) from error
            raise

    def _broken(self, name: str, reason: object) -> ValueError:
        return ValueError(
            f"{self.path / name} is missing or damaged ({reason}); prepare the set again"
        )

    def shard_paths(self) -> tuple[list[str], list[int]]:
        """Every shard, and how many records it holds."""
        paths, counts = [], []
        for split, about in self.manifest["splits"].items():
            shards = len(about["shard_clips"])
            for number, clips in enumerate(about["shard_clips"]):
                name = records.shard_name(
                    self.manifest["dataset"], split, number, shards
                )
                # ArrayRecord takes a missing file for an empty one.
                if not (self.path / name).is_file():
                    raise ValueError(
                        f"{self.path / name} is missing; prepare the set again"
                    )
                paths.append(str(self.path / name))
                counts.append(clips)
        return paths, counts

    def __len__(self) -> int:
        return len(self.n_samples)

    @property
    def has_folds(self) -> bool:
        """Whether the dataset comes with official folds.

        Raises:
          ValueError: if only some of its clips have one.
        """
        numbered = self.fold > 0
        if numbered.any() and not numbered.all():
            raise ValueError(
                f"{self.path}: {np.sum(~numbered)} of {len(self)} clips have no fold, "
                f"the first: {str(self.id[~numbered][0])!r}; number all of them, or none"
            )
        return bool(numbered.all())

    @property
    def fingerprint(self) -> str:
        """Changes with any record, and with their order."""
        return self.manifest["checksum"]

    def check_classes(self, num_classes: int) -> None:
        """Refuses a model whose head does not fit the labels.

        Raises:
          ValueError: naming both numbers.
        """
        if num_classes != len(self.label_names):
            raise ValueError(
                f"config.model.num_classes is {num_classes}, {self.path} has "
                f"{len(self.label_names)} classes; set it to that"
            )

    def check_labels(self, labels: Sequence[str], source: str) -> None:
        """Refuses what was made for other labels, or the same in another order.

        Args:
          source: whose labels they are.

        Raises:
          ValueError: naming the first that differ.
        """
        if list(labels) == list(self.label_names):
            return
        pairs = itertools.zip_longest(labels, self.label_names, fillvalue="absent")
        differ = [
            f"{i}: {theirs} there, {ours} here"
            for i, (theirs, ours) in enumerate(pairs)
            if theirs != ours
        ]
        raise ValueError(
            f"{source} knows other labels than {self.path}; {len(differ)} differ:\n  "
            + "\n  ".join(differ[:10])
        )

    def labels_of(
        self, rows: np.ndarray
    ) -> tuple[Int64[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """(place in `rows`, label id) of every label of some rows."""
        begins = self.label_offsets[rows]
        counts = self.label_offsets[rows + 1] - begins
        ends = np.cumsum(counts)
        each = np.arange(counts.sum()) + np.repeat(begins - ends + counts, counts)
        return np.repeat(np.arange(len(rows)), counts), self.label_ids[each]

    def class_of(self, role: str) -> int | None:
        """The label id of the manifest's "normal_class" or "positive_class", if any."""
        name = self.manifest[role]
        return None if name is None else self.label_names.index(name)

    def labels_multi_hot(self, rows: np.ndarray) -> Float32[np.ndarray, "rows k"]:
        """Multi-hot labels of some rows."""
        result = np.zeros((len(rows), len(self.label_names)), np.float32)
        result[self.labels_of(rows)] = 1
        return result

    def read_audio(self, row: int) -> Int16[np.ndarray, "t"]:
        """The samples of a row, checked.

        Raises:
          ValueError: if the record is damaged.
        """
        with self._damage_of(row):
            begin, stored = self._stored(row)
            audio = records.from_storage(stored, self._storage)
            self._check_length(row, len(audio))
        if self._storage == "int16":
            self._audio_begins[row] = begin
        return audio

    def read_into(self, row: int, start: int, out: Int16[np.ndarray, "t"]) -> None:
        """Fills `out` with the samples of a row from `start` on; it must have as many.

        A record is checked when it is first read; after that its samples are copied
        from where they lie, without the rest of it. Of FLAC, the frames that they lie
        in are decoded, and no others are checked.

        Raises:
          ValueError: if the record is damaged.
        """
        if begin := int(self._audio_begins[row]):
            with self._damage_of(row):
                self._shards.read_into(row, begin + out.itemsize * start, out)
        elif self._storage == "flac":
            with self._damage_of(row):
                _, stored = self._stored(row)
                self._check_length(row, records.decode_part(stored, start, out))
        else:
            out[:] = self.read_audio(row)[start : start + len(out)]

    def _stored(self, row: int) -> tuple[int, UInt8[np.ndarray, "n"]]:
        """Where the audio begins in its record, and its bytes as they are stored."""
        record = self._shards[row]
        begin, end = find_audio(record)
        return begin, np.frombuffer(record, np.uint8)[begin:end]

    def _check_length(self, row: int, n_samples: int) -> None:
        if n_samples != self.n_samples[row]:
            raise ValueError(f"{n_samples} samples, not {self.n_samples[row]}")

    @contextlib.contextmanager
    def _damage_of(self, row: int) -> Iterator[None]:
        try:
            yield
        # What a damaged record raises depends on where the damage is.
        except (RuntimeError, IndexError, OSError, ValueError) as error:
            raise ValueError(
                f"{self.path}: record {row} ({self.id[row]}) cannot be read: {error}; "
                "prepare the set again"
            ) from error


def find_audio(record: bytes) -> tuple[int, int]:
    """Where the audio of a serialized `tf.train.Example` begins and ends, in bytes.

    TFDS parses an example by copying it a few times. The field comes first: the keys of
    the one map that an example consists of are sorted.
    """
    at = 0
    for tag in (b"\n", b"\n", b"\n\x05audio\x12", b"\n", b"\n"):
        if record[at : at + len(tag)] != tag:
            raise ValueError("it has no audio where it should")
        size, at = decode_varint(record, at + len(tag))
    return at, at + size
