"""Sets that do not lie in files of audio on this disk, or are not prepared by this
process: parquet files, remote folders, Apache Beam; and FLAC in place of samples."""

import io
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import tensorflow_datasets as tfds
from upath import UPath

from aemjax.audio.read import read_audio, to_int16
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet

CLASSES = "index,mid,display_name\n0,/m/0a,Speech\n1,/m/0b,Music\n2,/m/0c,Silence\n"


def content(name):
    return sorted(
        (path.name, path.read_bytes()) for path in name.iterdir() if path.is_file()
    )


def flac(pcm, rate=16_000):
    file = io.BytesIO()
    sf.write(file, pcm, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture
def parquet(tmp_path):
    """Hugging Face's form: 2 files of 5 rows in row groups of 2, and one of `eval`."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    (folder / "data").mkdir(parents=True)
    (folder / "class_labels_indices.csv").write_text(CLASSES)
    audio = {}
    for split, numbers in (("bal_train", (0, 1)), ("eval", (2,))):
        (folder / "data" / split).mkdir()
        for number in numbers:
            rows = []
            for row in range(5):
                ytid = f"-{number}_{row}abcdefg"
                audio[ytid] = rng.integers(-20_000, 20_000, 1600 + 16 * row)
                value = {
                    "bytes": flac(audio[ytid].astype(np.int16)),
                    "path": f"{ytid}.flac",
                }
                mids = ["/m/0b", "/m/0a"] if row % 2 else ["/m/0c"]
                rows.append({"video_id": ytid, "audio": value, "labels": mids})
            table = pa.Table.from_pylist(rows)
            name = folder / "data" / split / f"{number:02d}.parquet"
            pq.write_table(table, name, row_group_size=2)
    return folder, audio


def _change(name, row, **values):
    rows = pq.read_table(name).to_pylist()
    rows[row] |= values
    pq.write_table(pa.Table.from_pylist(rows), name)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_parquet_set(tmp_path, parquet, workers):
    source, audio = parquet
    out = tmp_path / "out"
    manifest = prepare("audioset", source, out, clips_per_shard=3, workers=workers)
    assert {k: v["clips"] for k, v in manifest["splits"].items()} == {
        "balanced_train": 10,
        "eval": 5,
    }
    data = PreparedSet(out)
    assert sorted(data.group) == sorted(audio)
    for row in range(len(data)):
        ytid = data.group[row]
        np.testing.assert_array_equal(data.read_audio(row), audio[ytid])
        number, position = int(ytid[1]), int(ytid[3])
        split = "eval" if number == 2 else "bal_train"
        file = source / "data" / split / f"{number:02d}.parquet"
        assert data.source[row] == f"{file}#{position}"
        expected = [1, 1, 0] if position % 2 else [0, 0, 1]
        assert data.labels_multi_hot(np.array([row]))[0].tolist() == expected
    # Shuffled: no shard is a run of rows.
    assert not (out / "packed").exists()
    assert data.group.tolist() != sorted(audio)


def test_segment_lists_choose_the_rows_of_a_parquet_set(tmp_path, parquet):
    source, audio = parquet
    (source / "eval_segments.csv").write_text(
        "# one\n# two\n# three\n"
        '-2_1abcdefg, 30.000, 40.000, "/m/0a"\n'
        '-2_3abcdefg, 0.000, 10.000, "/m/0c"\n'
        '-gone______, 0.000, 10.000, "/m/0c"\n'
    )
    manifest = prepare("audioset", source, tmp_path / "out", allow_missing=True)
    assert (manifest["kept"], manifest["skipped"]["missing"]) == (2, 1)
    data = PreparedSet(tmp_path / "out")
    row = data.id.tolist().index("-2_1abcdefg_30")
    np.testing.assert_array_equal(data.read_audio(row), audio["-2_1abcdefg"])
    assert data.labels_multi_hot(np.array([row]))[0].tolist() == [1, 0, 0]


def test_a_bad_row_of_a_parquet_set(tmp_path, parquet):
    source, _ = parquet
    name = source / "data" / "eval" / "02.parquet"
    _change(name, 1, audio={"bytes": b"not audio", "path": "x.flac"})
    _change(name, 3, audio={"bytes": None, "path": "y.flac"})
    with pytest.raises(ValueError, match="2 clips cannot be used") as refusal:
        prepare("audioset", source, tmp_path / "out")
    assert f"{name}#1: cannot be read" in str(refusal.value)
    assert "no bytes of audio in this row" in str(refusal.value)
    manifest = prepare("audioset", source, tmp_path / "out", skip_unreadable=True)
    assert (manifest["kept"], manifest["skipped"]["unreadable"]) == (13, 2)


def test_a_row_without_labels(tmp_path, parquet):
    source, _ = parquet
    name = source / "data" / "eval" / "02.parquet"
    _change(name, 2, labels=None)
    with pytest.raises(ValueError, match="02.parquet#2: video_id is .* labels None"):
        prepare("audioset", source, tmp_path / "out")


@pytest.mark.parametrize("anew", [False, True])
def test_a_parquet_set_that_was_repaired(tmp_path, parquet, anew):
    """Gone on with or begun anew, nothing of the bad file is taken for the good one."""
    source, audio = parquet
    name = source / "data" / "eval" / "02.parquet"
    whole = name.read_bytes()
    _change(name, 1, audio={"bytes": b"not audio", "path": "x.flac"})
    with pytest.raises(ValueError, match="1 clips cannot be used"):
        prepare("audioset", source, tmp_path / "out")
    if anew:
        shutil.rmtree(tmp_path / "out.incomplete")
    name.write_bytes(whole)
    assert prepare("audioset", source, tmp_path / "out")["kept"] == len(audio)


def test_a_cut_parquet_file(tmp_path, parquet):
    source, _ = parquet
    name = source / "data" / "eval" / "02.parquet"
    name.write_bytes(name.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        prepare("audioset", source, tmp_path / "out")
    (source / "data" / "other").mkdir()
    name.rename(source / "data" / "other" / name.name)
    with pytest.raises(ValueError, match="lies in a folder 'other', expected"):
        prepare("audioset", source, tmp_path / "out")


@pytest.mark.parametrize(
    "flags",
    [
        ["--runner=DirectRunner"],
        pytest.param(
            [
                "--runner=DirectRunner",
                "--direct_running_mode=multi_processing",
                "--direct_num_workers=2",
            ],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_beam_writes_the_same_bytes(tmp_path, parquet, flags):
    source, _ = parquet
    prepare("audioset", source, tmp_path / "local", clips_per_shard=3)
    prepare("audioset", source, tmp_path / "beam", clips_per_shard=3, beam_flags=flags)
    assert content(tmp_path / "beam") == content(tmp_path / "local")


def test_a_beam_pipeline_that_fails(tmp_path, save, monkeypatch):
    save(tmp_path / "in" / "dog" / "a.wav", np.arange(800, dtype=np.int16))

    def fail(*_):
        raise OSError("no more room")

    with monkeypatch.context() as patch:
        patch.setattr("aemjax.data.shards.folders.move", fail)
        with pytest.raises(OSError, match="cannot write .*: no more room"):
            prepare(
                "manifest",
                tmp_path / "in",
                tmp_path / "out",
                beam_flags=["--runner=DirectRunner"],
            )
    assert prepare("manifest", tmp_path / "in", tmp_path / "out")["kept"] == 1


def test_remote_folders(tmp_path, esc50_at):
    """The same bytes from and to a file system that is not this machine's."""
    local = esc50_at(tmp_path / "in")
    remote, out = UPath("memory://bucket/in"), UPath("memory://bucket/sets/esc50")
    for path in local.rglob("*.*"):
        target = remote / path.relative_to(local).as_posix()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    manifest = prepare("esc50", str(remote), str(out), clips_per_shard=3)
    expected = prepare("esc50", local, tmp_path / "esc50", clips_per_shard=3)
    assert manifest == expected | {"clips": manifest["clips"]}  # of where files lay
    found, expected = dict(content(out)), dict(content(tmp_path / "esc50"))
    assert found.keys() == expected.keys()
    for name in found.keys() - {"index.parquet", "manifest.json"}:
        assert found[name] == expected[name], name
    with pytest.raises(ValueError, match="memory://bucket/sets/esc50 exists; remove"):
        prepare("esc50", str(remote), str(out), clips_per_shard=3)
    # The copy is a set.
    (tmp_path / "copy").mkdir()
    for name, data in found.items():
        (tmp_path / "copy" / name).write_bytes(data)
    data = PreparedSet(tmp_path / "copy")
    assert data.source[0].startswith("memory://")
    name = data.source[0].partition("bucket/in/")[2]
    np.testing.assert_array_equal(
        data.read_audio(0), to_int16(read_audio(local / name))
    )
    shutil.rmtree(tmp_path / "copy")


def test_flac(tmp_path, esc50_at):
    source = esc50_at(tmp_path / "in")
    prepare("esc50", source, tmp_path / "int16")
    manifest = prepare("esc50", source, tmp_path / "flac", storage="flac")
    assert manifest["storage"] == "flac"
    one, other = PreparedSet(tmp_path / "int16"), PreparedSet(tmp_path / "flac")
    assert one.digest.tolist() == other.digest.tolist()
    for row in range(len(one)):
        np.testing.assert_array_equal(one.read_audio(row), other.read_audio(row))
    example = next(
        iter(tfds.builder_from_directory(tmp_path / "flac").as_data_source()["full"])
    )
    pcm, rate = sf.read(io.BytesIO(example["audio"].tobytes()), dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(pcm, one.read_audio(0))


def test_an_unknown_storage(tmp_path, esc50_at):
    with pytest.raises(
        ValueError, match=r"unknown storage 'mp3'; known: \['flac', 'int16'\]"
    ):
        prepare("esc50", esc50_at(tmp_path / "in"), tmp_path / "out", storage="mp3")
    assert not list(tmp_path.glob("out*"))
