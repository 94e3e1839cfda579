"""Opens what `prepare` wrote: the index as arrays, the records as a grain source."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from array_record.python.array_record_data_source import ArrayRecordDataSource

from aemjax.audio.read import SAMPLE_RATE
from aemjax.data import records


class PreparedSet:
    """A prepared set; row i of every array is record i.

    Attributes:
      path: its folder.
      manifest: what `prepare` says of it.
      label_names: class names, in label order.
      multi_label: whether a clip may have several.
      id, split, group, device, source: str arrays; fold, n_samples, source_rate,
        clipped_samples: int; mean, std: float32; digest: str, equal for equal audio.
    """

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
        found = self.manifest.get("format_version")
        if found != records.FORMAT_VERSION:
            raise ValueError(
                f"{self.path} has format {found}, this version reads "
                f"{records.FORMAT_VERSION}; prepare it again"
            )
        if self.manifest["sample_rate"] != SAMPLE_RATE:
            raise ValueError(
                f"{self.path} is at {self.manifest['sample_rate']} Hz, expected "
                f"{SAMPLE_RATE}; prepare it again"
            )
        self.label_names = tuple(self.manifest["labels"])
        self.multi_label = self.manifest["multi_label"]
        self._read_index()
        self._source = self._open_shards()
        if len(self._source) != len(self):
            raise ValueError(
                f"{self.path} holds {len(self._source)} records, its index lists "
                f"{len(self)}; a shard is damaged: prepare the set again"
            )
        self._storage = self.manifest["storage"]
        self._features = records.features(self.label_names, self._storage)

    def _read_index(self) -> None:
        try:
            table = pq.read_table(self.path / records.INDEX)
        except (OSError, ValueError) as error:  # pyarrow's are among them
            raise self._broken(records.INDEX, error) from error
        for name in ("id", "split", "group", "device", "digest", "source"):
            setattr(self, name, np.asarray(table[name].to_pylist(), dtype=str))
        numbers = ("fold", "n_samples", "mean", "std", "clipped_samples", "source_rate")
        for name in numbers:
            setattr(self, name, table[name].to_numpy())
        labels = table["labels"].combine_chunks()
        self._label_ids = labels.flatten().to_numpy()
        self._label_offsets = np.cumsum([0, *map(len, labels)])

    def _open_shards(self) -> ArrayRecordDataSource:
        paths = self._shard_paths()
        try:
            return ArrayRecordDataSource(paths)
        except RuntimeError:
            for path in paths:  # the error does not say which
                try:
                    ArrayRecordDataSource([path])
                except RuntimeError as error:
                    raise self._broken(Path(path).name, error) from error
            raise

    def _broken(self, name: str, reason: object) -> ValueError:
        return ValueError(
            f"{self.path / name} is missing or damaged ({reason}); prepare the set again"
        )

    def _shard_paths(self) -> list[str]:
        paths = []
        for split, about in self.manifest["splits"].items():
            count = len(about["shard_clips"])
            for number in range(count):
                name = records.shard_name(
                    self.manifest["dataset"], split, number, count
                )
                # ArrayRecord takes a missing file for an empty one.
                if not (self.path / name).is_file():
                    raise ValueError(
                        f"{self.path / name} is missing; prepare the set again"
                    )
                paths.append(str(self.path / name))
        return paths

    def __len__(self) -> int:
        return len(self.id)

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

    def labels_multi_hot(self, rows: np.ndarray) -> np.ndarray:
        """Float32 multi-hot labels "rows k"."""
        result = np.zeros((len(rows), len(self.label_names)), np.float32)
        for i, row in enumerate(rows):
            start, stop = self._label_offsets[row : row + 2]
            result[i, self._label_ids[start:stop]] = 1
        return result

    def read_audio(self, row: int) -> np.ndarray:
        """The int16 samples "t" of a row.

        Raises:
          ValueError: if the record is damaged.
        """
        try:
            stored = self._features.deserialize_example_np(self._source[row])["audio"]
            audio = records.from_storage(stored, self._storage)
        # What a damaged record raises depends on where the damage is.
        except (RuntimeError, IndexError, TypeError, KeyError, ValueError) as error:
            raise self._damaged(row, error) from error
        if len(audio) != self.n_samples[row]:
            raise self._damaged(row, f"{len(audio)} samples, not {self.n_samples[row]}")
        return audio

    def _damaged(self, row: int, reason: object) -> ValueError:
        return ValueError(
            f"{self.path}: record {row} ({self.id[row]}) cannot be read: {reason}; "
            "prepare the set again"
        )
