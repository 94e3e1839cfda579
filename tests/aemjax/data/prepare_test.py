"""Official folder -> prepared set: its contents and its refusals."""

import csv
import hashlib
import json
import os
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import tensorflow_datasets as tfds

from aemjax.audio.read import read_audio, to_int16
from aemjax.data import catalog, records
from aemjax.data.clips import Clip, Listing
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from tests.aemjax.data.made import noise, shards


def skipped(folder):
    with (folder / "skipped.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def esc50(tmp_path_factory, esc50_at):
    return esc50_at(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def esc50_set(tmp_path_factory, esc50):
    out = tmp_path_factory.mktemp("sets") / "esc50"
    prepare("esc50", esc50, out, clips_per_shard=3)
    return out


# What a set holds.


def test_a_set_holds_its_sources(tmp_path, save, table):
    audio = [noise(800 + 80 * i, seed=i) for i in range(6)]
    for i, pcm in enumerate(audio):
        save(tmp_path / f"{i}.wav", pcm)
    labels = ["b", "a;c", "c", "a", "a", "b"]
    splits = ["train", "train", "train", "train", "test", "test"]
    folds = [1, 2, 1, 2, 0, 0]
    groups = ["anna", "", "bert", "anna", "carl", ""]
    table(
        tmp_path / "set.csv",
        ("path", "label", "split", "fold", "group", "start_s", "end_s"),
        [
            (f"{i}.wav", labels[i], splits[i], folds[i] or "", groups[i], *part)
            for i, part in enumerate([("", "")] * 5 + [(0.01, 0.03)])
        ],
    )
    audio[5] = audio[5][160:480]
    audio[3][[5, 6]] = -32_768, 32_767
    save(tmp_path / "3.wav", audio[3])

    out = tmp_path / "out"
    manifest = prepare("manifest", tmp_path / "set.csv", out, clips_per_shard=2)
    data = PreparedSet(out)
    assert len(data) == 6
    assert data.label_names == ("a", "b", "c")
    order = [int(clip[0]) for clip in data.id]
    assert sorted(order) == list(range(6))
    for row, i in enumerate(order):
        np.testing.assert_array_equal(data.read_audio(row), audio[i])
        assert data.read_audio(row).dtype == np.int16
        samples = audio[i].astype(np.float64) / 32_768
        np.testing.assert_allclose(data.mean[row], samples.mean(), rtol=1e-6)
        np.testing.assert_allclose(data.std[row], samples.std(), rtol=1e-6)
        assert data.n_samples[row] == len(audio[i])
        multi_hot = [name in labels[i].split(";") for name in "abc"]
        np.testing.assert_array_equal(
            data.labels_multi_hot(np.array([row])), [multi_hot]
        )
        assert data.source[row] == str(tmp_path / f"{i}.wav")
    assert data.id[order.index(5)] == "5.wav@0.01-0.03"
    assert data.split.tolist() == [splits[i] for i in order]
    assert data.fold.tolist() == [folds[i] for i in order]
    groups[5] = "5.wav"  # of a part, the file
    assert data.group.tolist() == [groups[i] for i in order]
    assert data.clipped_samples.tolist() == [2 * (i == 3) for i in order]
    assert (data.source_rate == 16_000).all()
    digests = [hashlib.blake2b(audio[i], digest_size=16).hexdigest() for i in order]
    assert data.digest.tolist() == digests
    start_s = pq.read_table(out / "index.parquet")["start_s"].to_pylist()
    assert start_s == [0.01 if i == 5 else 0 for i in order]

    assert manifest == json.loads((out / "manifest.json").read_text())
    expected = {
        "format_version": 2,
        "storage": "int16",
        "dataset": "manifest",
        "sample_rate": 16_000,
        "seed": 0,
        "labels": ["a", "b", "c"],
        "multi_label": True,
        "listed": 6,
        "kept": 6,
        "published": {"classes": None, "clips": {}, "per_class": {}},
        "official": None,
        "skipped": {"missing": 0, "unreadable": 0},
    }
    assert {key: manifest[key] for key in expected} == expected
    train, test = manifest["splits"]["train"], manifest["splits"]["test"]
    assert (train["clips"], test["clips"]) == (4, 2)
    assert (sum(train["shard_clips"]), len(train["shard_clips"])) == (4, 2)
    assert train["clips_per_class"] == {"a": 2, "b": 1, "c": 2}
    assert test["clips_per_class"] == {"a": 1, "b": 1, "c": 0}
    hours = sum(map(len, audio[:4])) / 16_000 / 3600
    assert train["hours"] == round(hours, 4)
    assert skipped(out) == []
    assert not list(tmp_path.glob("*.incomplete"))
    assert not [path for path in out.iterdir() if path.suffix == ".tmp"]


def test_a_file_is_made_mono_at_16_khz(tmp_path, save):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (4410, 2))
    path = save(tmp_path / "in" / "a" / "a.flac", samples, 44_100, subtype="PCM_24")
    prepare("manifest", tmp_path / "in", tmp_path / "out")
    found = PreparedSet(tmp_path / "out").read_audio(0)
    assert len(found) == 1600
    np.testing.assert_array_equal(found, to_int16(read_audio(path)))


def test_tfds_reads_a_set(esc50_set):
    data = PreparedSet(esc50_set)
    builder = tfds.builder_from_directory(esc50_set)
    assert builder.info.splits["full"].num_examples == 30
    assert builder.info.features["labels"].feature.names == ["dog", "rooster", "door"]
    source = builder.as_data_source()["full"]
    assert len(source) == 30
    for row, example in enumerate(source):
        assert example["id"].decode() == data.id[row]
        np.testing.assert_array_equal(example["audio"], data.read_audio(row))
        label = data.labels_multi_hot(np.array([row]))[0].argmax()
        assert list(example["labels"]) == [label]


def test_order_is_a_hash_of_ids_and_seed(tmp_path, esc50, esc50_set):
    """So that sets made by another version, or after a fix of one clip, compare."""
    expected = [[] for _ in range(10)]
    for clip in (path.stem for path in (esc50 / "audio").iterdir()):
        digest = hashlib.blake2b(f"0:{clip}".encode(), digest_size=8).digest()
        rank = int.from_bytes(digest)
        expected[rank % 10].append((rank, clip))
    order = [clip for part in expected for _, clip in sorted(part)]
    assert PreparedSet(esc50_set).id.tolist() == order


def test_the_bytes_of_a_record():
    """Protocol buffers order the fields by chance, and otherwise in each process."""
    audio = np.array([1, -2], np.int16)
    assert records.serialize(
        records.features(("a", "b"), "int16"),
        {"id": "x", "audio": audio, "labels": [1]},
    ) == (
        b"\n1\n\x11\n\x05audio\x12\x08\n\x06\n\x04\x01\x00\xfe\xff"
        b"\n\x0b\n\x02id\x12\x05\n\x03\n\x01x"
        b"\n\x0f\n\x06labels\x12\x05\x1a\x03\n\x01\x01"
    )


def test_shards_are_the_same_bytes_for_any_number_of_workers(
    tmp_path, esc50, esc50_set
):
    out = tmp_path / "two"
    manifest = prepare("esc50", esc50, out, clips_per_shard=3, workers=2)
    assert shards(out) == shards(esc50_set)
    assert len(shards(out)) == 10
    assert manifest == json.loads((esc50_set / "manifest.json").read_text())
    assert (out / "index.parquet").read_bytes() == (
        esc50_set / "index.parquet"
    ).read_bytes()


def test_another_seed_gives_another_order(tmp_path, esc50, esc50_set):
    prepare("esc50", esc50, tmp_path / "out", clips_per_shard=3, seed=1)
    one, other = PreparedSet(esc50_set), PreparedSet(tmp_path / "out")
    assert one.id.tolist() != other.id.tolist()
    assert sorted(one.id) == sorted(other.id)
    assert one.fingerprint != other.fingerprint


# What is refused.


def test_unknown_dataset(tmp_path):
    with pytest.raises(ValueError, match="unknown dataset 'esc5'; known: .*'esc50'"):
        prepare("esc5", tmp_path, tmp_path / "out")


def test_no_source(tmp_path):
    with pytest.raises(ValueError, match="source .*nowhere does not exist"):
        prepare("esc50", tmp_path / "nowhere", tmp_path / "out")


def test_out_that_exists(esc50, esc50_set):
    before = shards(esc50_set)
    with pytest.raises(ValueError, match="esc50 exists; remove it, or choose another"):
        prepare("esc50", esc50, esc50_set)
    assert shards(esc50_set) == before


def test_a_clip_listed_twice(tmp_path, save, table):
    save(tmp_path / "a.wav", noise(800))
    rows = [("a.wav", "dog"), ("a.wav", "cat")]
    table(tmp_path / "set.csv", ("path", "label"), rows)
    message = (
        r"more than once: \['a.wav'\]; .* one split; .* in one row, separated by ';'"
    )
    with pytest.raises(ValueError, match=message):
        prepare("manifest", tmp_path, tmp_path / "out")


def test_clips_without_labels(tmp_path, monkeypatch):
    clips = (Clip("a", None, (0,)), Clip("b", None, ()))
    own = catalog.Dataset(
        read=lambda source: Listing(("dog",), clips),
        home="",
        classes=1,
        protocols=("kfold",),
    )
    monkeypatch.setitem(catalog.DATASETS, "own", own)
    with pytest.raises(ValueError, match=r"1 clips have no label, .*: \['b'\]; give"):
        prepare("own", tmp_path, tmp_path / "out", allow_missing=True)


def test_names_that_are_not_utf_8(tmp_path, save):
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(2):
        save(source / "dog" / f"{i}.wav", noise(800, seed=i))
    os.rename(source / "dog" / "1.wav", source / "dog" / os.fsdecode(b"caf\xe9.wav"))
    message = r"names of 1 clips are not UTF-8, .*dog/caf\\udce9.wav'; rename"
    with pytest.raises(ValueError, match=message):
        prepare("manifest", source, out)
    manifest = prepare("manifest", source, out, skip_unreadable=True)
    assert (manifest["listed"], manifest["kept"]) == (2, 1)
    assert manifest["skipped"] == {"missing": 0, "unreadable": 1}
    (row,) = skipped(out)
    assert (row["id"], row["reason"]) == (
        r"dog/caf\udce9.wav",
        "its name is not UTF-8; rename it",
    )
    os.rename(source / "dog", source / os.fsdecode(b"ch\xefen"))
    with pytest.raises(ValueError, match=r"the class 'ch\\udcefen' is not UTF-8; ren"):
        prepare("manifest", source, tmp_path / "again", skip_unreadable=True)


def test_missing_audio(tmp_path, esc50_at):
    source, out = esc50_at(tmp_path / "in"), tmp_path / "out"
    gone = {"1-101-A-0", "3-103-B-7", "5-105-B-30"}
    for clip in gone:
        (source / "audio" / f"{clip}.wav").unlink()
    with pytest.raises(
        ValueError, match="3 of 30 clips have no audio .*'1-101-A-0'.*--allow-missing"
    ):
        prepare("esc50", source, out)
    assert not out.exists()
    manifest = prepare("esc50", source, out, allow_missing=True)
    assert (manifest["listed"], manifest["kept"]) == (30, 27)
    assert manifest["skipped"] == {"missing": 3, "unreadable": 0}
    assert manifest["splits"]["full"]["clips_per_class"]["dog"] == 9
    assert {row["id"] for row in skipped(out)} == gone
    assert {row["reason"] for row in skipped(out)} == {"missing"}
    assert not gone & set(PreparedSet(out).id)


def test_no_audio_at_all(tmp_path, table):
    table(tmp_path / "set.csv", ("path", "label"), [("a.wav", "dog")])
    with pytest.raises(ValueError, match="not one of the listed clips has audio; is"):
        prepare("manifest", tmp_path, tmp_path / "out", allow_missing=True)
    assert not (tmp_path / "out").exists()


def _truncated(path):
    sf.write(path, noise(3200), 16_000)
    path.write_bytes(path.read_bytes()[:3000])


BAD_AUDIO = {
    "not audio": (
        lambda path: path.write_text("no audio" * 99),
        "cannot be read .*WAV",
    ),
    "empty": (
        lambda path: path.touch(),
        "0 bytes, expected audio; fetch the file again",
    ),
    "truncated": (_truncated, "truncated, holds .* announced bytes; fetch it again"),
    "not a number": (
        lambda path: sf.write(path, np.full(800, np.nan), 16_000, subtype="FLOAT"),
        "sample 0 .* is .*nan.*, expected finite numbers; leave the file out",
    ),
    "one sample": (
        lambda path: sf.write(path, noise(1), 16_000),
        "1 samples at 16000 Hz .* shorter than one 10 ms frame .*; pad the clip or",
    ),
    "zeros": (
        lambda path: sf.write(path, np.zeros(800), 16_000),
        "is silent: every sample is the same",
    ),
}


@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_bad_audio(tmp_path, save, kind):
    write, message = BAD_AUDIO[kind]
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(3):
        save(source / "dog" / f"{i}.wav", noise(800, seed=i))
    bad = source / "dog" / "bad.wav"
    write(bad)
    way_out = f"(?s)1 clips cannot be used:\n  dog/bad.wav: {bad}.*{message}.*Repair"
    with pytest.raises(ValueError, match=way_out + ".*--skip-unreadable"):
        prepare("manifest", source, out)
    assert not out.exists()

    manifest = prepare("manifest", source, out, skip_unreadable=True)
    assert manifest["skipped"] == {"missing": 0, "unreadable": 1}
    assert (manifest["listed"], manifest["kept"]) == (4, 3)
    (row,) = skipped(out)
    assert (row["id"], row["source"]) == ("dog/bad.wav", str(bad))
    assert row["reason"].startswith(str(bad))
    assert sorted(PreparedSet(out).id) == ["dog/0.wav", "dog/1.wav", "dog/2.wav"]


def test_nothing_but_bad_audio(tmp_path):
    (tmp_path / "in" / "dog").mkdir(parents=True)
    (tmp_path / "in" / "dog" / "a.wav").touch()
    with pytest.raises(ValueError, match="not one of the 1 clips can be .*a.wav: 0 by"):
        prepare("manifest", tmp_path / "in", tmp_path / "out", skip_unreadable=True)
    assert not (tmp_path / "out").exists()


def test_a_split_of_nothing_but_bad_audio(tmp_path, save, table):
    """TFDS opens no empty split."""
    save(tmp_path / "a.wav", noise(800))
    for name in "bc":
        (tmp_path / f"{name}.wav").touch()
    rows = [
        ("a.wav", "dog", "train"),
        ("b.wav", "dog", "test"),
        ("c.wav", "cat", "test"),
    ]
    table(tmp_path / "set.csv", ("path", "label", "split"), rows)
    out = tmp_path / "out"
    for bad in ("all", "repaired"):
        manifest = prepare("manifest", tmp_path, out, skip_unreadable=True)
        source = tfds.builder_from_directory(out).as_data_source()
        assert (
            set(manifest["splits"])
            == set(source)
            == {s.split("-")[1].split(".")[0] for s in shards(out)}
        )
        assert (
            sum(map(len, source.values())) == len(PreparedSet(out)) == manifest["kept"]
        )
        assert len(skipped(out)) == (2 if bad == "all" else 1)
        shutil.rmtree(out)
        save(tmp_path / "b.wav", noise(800))
    assert set(manifest["splits"]) == {"train", "test"}


def test_audioset_keeps_silence(tmp_path, audioset_at, save):
    source = audioset_at(tmp_path / "in")
    save(source / "-bcdefghij_.wav", np.zeros(800))
    manifest = prepare("audioset", source, tmp_path / "out")
    assert manifest["skipped"] == {"missing": 0, "unreadable": 0}
    assert manifest["multi_label"]
    assert {name: s["clips"] for name, s in manifest["splits"].items()} == {
        "balanced_train": 2,
        "eval": 1,
    }
    data = PreparedSet(tmp_path / "out")
    row = data.id.tolist().index("-bcdefghij__0")
    assert (data.mean[row], data.std[row]) == (0, 0)
    np.testing.assert_array_equal(data.read_audio(row), np.zeros(800))


# Real audio.


def test_esc10_from_real_audio(tmp_path, real_audio):
    manifest = prepare("esc10", real_audio("esc10"), tmp_path / "out")
    assert manifest["kept"] == manifest["listed"] == 400
    data = PreparedSet(tmp_path / "out")
    assert {
        fold: int((data.fold == fold).sum()) for fold in range(1, 6)
    } == dict.fromkeys(range(1, 6), 80)
    seconds = data.n_samples / 16_000
    assert round(seconds.min(), 2) == 3.64 and round(seconds.max(), 2) == 7.24
    assert (data.std > 0).all()
