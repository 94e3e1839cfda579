"""A prepared set on disk: how its records, index and folder are laid out.

    DIR/NAME-SPLIT.array_record-00000-of-00004   records: id, audio, label ids
    DIR/index.parquet     one row per record, in record order; INDEX_SCHEMA
    DIR/manifest.json     what was kept and skipped, counts, checksum
    DIR/skipped.csv       id, source, reason of each clip left out
    DIR/dataset_info.json, features.json   TFDS' own, so that `tfds.builder_from_directory`
                                           reads the folder too

This module imports tensorflow_datasets and pyarrow; inference does not need it.
"""

import functools
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile as sf
import tensorflow_datasets as tfds
from jaxtyping import Int16
from tensorflow_datasets.proto import tf_example_pb2

FORMAT_VERSION = 2
SUFFIX = "array_record"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
MANIFEST = "manifest.json"
INDEX = "index.parquet"
SKIPPED = "skipped.csv"

# One record per chunk, so that a random read decodes no neighbour; PCM is not worth
# compressing against the time that decompression takes from a training host.
WRITER_OPTIONS = "group_size:1,uncompressed"

# mean and std are those of the stored samples as floats in [-1, 1]; clipped_samples are
# at full scale; source_rate is the file's, in Hz; digest is the same for the same audio.
INDEX_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int32()),
        ("group", pa.string()),
        ("device", pa.string()),
        ("labels", pa.list_(pa.int32())),
        ("n_samples", pa.int64()),
        ("mean", pa.float32()),
        ("std", pa.float32()),
        ("clipped_samples", pa.int64()),
        ("digest", pa.string()),
        ("source_rate", pa.int32()),
        ("start_s", pa.float64()),
        ("source", pa.string()),
    ]
)


# How the samples are stored: as they are, or as a FLAC file of half the size that costs
# a decoding at every read.
STORAGES = {"int16": np.int16, "flac": np.uint8}


@functools.cache
def features(label_names: tuple[str, ...], storage: str) -> tfds.features.FeaturesDict:
    """The TFDS features of one record.

    Raises:
      ValueError: on an unknown storage.
    """
    if storage not in STORAGES:
        raise ValueError(f"unknown storage {storage!r}; known: {sorted(STORAGES)}")
    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "audio": tfds.features.Tensor(
                shape=(None,), dtype=STORAGES[storage], encoding="bytes"
            ),
            "labels": tfds.features.Sequence(
                tfds.features.ClassLabel(names=label_names)
            ),
        }
    )


def serialize(
    features: tfds.features.FeaturesDict, example: Mapping[str, Any]
) -> bytes:
    """The bytes of a record; of equal examples they are equal."""
    record = tf_example_pb2.Example.FromString(features.serialize_example(example))
    # Else the order of the fields differs between processes.
    return record.SerializeToString(deterministic=True)


def to_storage(pcm: Int16[np.ndarray, "t"], storage: str, rate: int) -> np.ndarray:
    """Samples as a record's "audio" holds them."""
    if storage == "int16":
        return pcm
    file = io.BytesIO()
    sf.write(file, pcm, rate, format="FLAC", subtype="PCM_16")
    return np.frombuffer(file.getvalue(), np.uint8)


def from_storage(audio: bytes | np.ndarray, storage: str) -> Int16[np.ndarray, "t"]:
    """The samples of what `to_storage` gave.

    Raises:
      ValueError: if they cannot be decoded.
    """
    if storage == "int16":
        return np.frombuffer(audio, np.int16)
    try:
        return sf.read(io.BytesIO(audio), dtype="int16")[0]
    except sf.LibsndfileError as error:
        raise ValueError(f"damaged FLAC: {error}") from error


def decode_part(
    flac: bytes | np.ndarray, start: int, out: Int16[np.ndarray, "t"]
) -> int:
    """Fills `out` from sample `start` of a FLAC file on; decodes little else.

    Returns:
      How many samples the file has.

    Raises:
      ValueError: if they cannot be decoded.
    """
    try:
        with sf.SoundFile(io.BytesIO(flac)) as file:
            file.seek(start)
            if len(file.read(out=out)) != len(out):
                raise ValueError("the FLAC ends early")
            return len(file)
    except sf.LibsndfileError as error:
        raise ValueError(f"damaged FLAC: {error}") from error


def shard_name(dataset: str, split: str, shard: int, shards: int) -> str:
    """File name of a shard, as TFDS names it."""
    return f"{dataset}-{split}.{SUFFIX}-{shard:05d}-of-{shards:05d}"
