"""Parquet files that are not of the form that Hugging Face's have."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aemjax.data import packed
from aemjax.data.clips import Clip


@pytest.mark.parametrize(
    "row, columns",
    [
        ({"sound": b"RIFF"}, "sound"),
        ({"audio": b"RIFF"}, "audio"),
        ({"audio": {"path": "a.wav"}}, "audio.path"),
    ],
)
def test_a_file_without_audio(tmp_path, row, columns):
    file = tmp_path / "0.parquet"
    pq.write_table(pa.Table.from_pylist([row]), file)
    clips = [Clip("a", packed.row_source(str(file), 0), (0,))]
    message = (
        rf"{file} cannot be read as a parquet file of audio: its columns are "
        rf"\['{columns}'\], expected one named 'audio.bytes'; fetch it again"
    )
    with pytest.raises(ValueError, match=message):
        packed.pack(str(file), clips, tmp_path / "packed" / "0", lambda *_: ({}, b""))
    assert not list((tmp_path / "packed").iterdir())
