"""Embeddings of files: each as of its clip alone, whatever happens on the way."""

import csv
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

import aemjax
from aemjax import cli
from aemjax.audio.read import read_audio
from aemjax.serve import embed_files as module
from aemjax.serve import embedding_table, long_clips
from aemjax.serve.classifier import Classifier
from aemjax.serve.embed_files import embed_files
from tests.aemjax.audio.files import noise, save

# Samples at 16 kHz, by name in the order in which a folder is read.
LENGTHS = {"a.wav": 8_000, "b.flac": 1_000, "sub/c.WAV": 7_900, "sub/deep/d.wav": 160}


@pytest.fixture(scope="module")
def classifier(released):
    return aemjax.load(released, batch_size=2)


@pytest.fixture
def few(classifier, monkeypatch):
    """The same; a pile of its files is four."""
    monkeypatch.setattr(module, "PILE_FILES", 0)
    monkeypatch.setattr(module, "PILE_BATCHES", 2)
    return classifier


@pytest.fixture
def folder(tmp_path):
    """Four files of audio, and two that are none."""
    folder = tmp_path / "in"
    (folder / "sub" / "deep").mkdir(parents=True)
    for i, (name, n) in enumerate(LENGTHS.items()):
        save(folder, noise(n, level=0.3, seed=i) + 0.1, name=name)
    (folder / "notes.txt").write_text("no audio")
    (folder / "._a.wav").write_text("no audio")
    return folder


def expected(classifier, paths):
    return np.stack([classifier.embed(read_audio(path)) for path in paths])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_is_embedded_as_it_is_alone(classifier, folder, tmp_path):
    last = save(tmp_path, noise(4_000, level=0.3), rate=8_000, name="z.wav")
    out = tmp_path / "new" / "out.npz"
    inputs = [str(last), str(folder), str(folder / "a.wav")]
    about = embed_files(classifier, inputs, out, logits=True)
    paths = [str(last), *(str(folder / name) for name in LENGTHS)]
    assert about == {
        **{"embedded": 5, "failed": {}, "out": str(out), "errors": None, "resumed": 0}
    }
    with np.load(out) as found:
        assert set(found) == {"paths", "embeddings", "logits", "labels"}
        assert found["paths"].tolist() == paths
        embeddings, logits = found["embeddings"], found["logits"]
        assert found["labels"].tolist() == list(classifier.labels)
    assert embeddings.dtype == logits.dtype == np.float32
    assert embeddings.shape == (5, 512) and np.ptp(embeddings, axis=0).max() > 0.05
    np.testing.assert_allclose(embeddings, expected(classifier, paths), atol=1e-4)
    scores = np.stack([classifier.scores(read_audio(path)) for path in paths])
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, atol=1e-4)
    assert names(out.parent) == ["out.npz"]


def test_a_table_has_a_row_for_each_file(classifier, folder, tmp_path):
    embed_files(classifier, [folder], tmp_path / "out.parquet", logits=True)
    embed_files(classifier, [folder], tmp_path / "out.npz", logits=True)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["path", "embedding", "logits"]
    assert json.loads(table.schema.metadata[b"labels"]) == list(classifier.labels)
    with np.load(tmp_path / "out.npz") as same:
        assert table["path"].to_pylist() == same["paths"].tolist()
        np.testing.assert_array_equal(
            table["embedding"].to_pylist(), same["embeddings"]
        )
        np.testing.assert_array_equal(table["logits"].to_pylist(), same["logits"])
    embed_files(classifier, [folder], tmp_path / "bare.parquet")
    assert pq.read_table(tmp_path / "bare.parquet").column_names == [
        "path",
        "embedding",
    ]


def test_bad_files_do_not_stop_the_others(released, folder, tmp_path, capsys):
    (bad := folder / "bad.wav").write_text("no audio")
    gone = str(tmp_path / "gone, or not.wav")
    out = tmp_path / "out.npz"
    words = [f"--model={released}", "-o", str(out)]
    cli.main(["embed", str(folder), gone, *words])
    printed, shown = capsys.readouterr()
    assert json.loads(printed) == {
        **{"embedded": 4, "failed": 2, "resumed": 0},
        **{"out": str(out), "errors": f"{out}.errors.csv"},
    }
    with open(f"{out}.errors.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "reason"] and [row[0] for row in rows] == [str(bad), gone]
    for file, reason in rows:
        assert reason.startswith("cannot be read (")
        assert f"error: {file}: {reason}" in shown.splitlines()
    assert "6/6" in shown and "failed=2" in shown
    assert len(np.load(out)["paths"]) == 4
    assert names(tmp_path) == ["in", "out.npz", "out.npz.errors.csv"]


def test_none_that_can_be_read_is_a_failure(released, tmp_path, capsys):
    out = tmp_path / "out.npz"
    files = [str(tmp_path / f"{i}.wav") for i in range(22)]
    with pytest.raises(SystemExit) as stop:
        cli.main(["embed", *files, f"--model={released}", f"--out={out}"])
    assert stop.value.code == 1
    printed, shown = capsys.readouterr()
    assert json.loads(printed)["out"] is None
    assert shown.count("error: ") == 20 and f"and 2 more, in {out}.errors.csv" in shown
    assert names(tmp_path) == ["out.npz.errors.csv"]


def test_outputs_that_are_not_numbers_are_a_reason(
    classifier, folder, tmp_path, monkeypatch
):
    def broken(*arguments):
        found = long_clips.run_whole(*arguments)
        found["embedding"][1] = np.nan
        return found

    monkeypatch.setattr(module, "run_whole", broken)
    about = embed_files(classifier, [folder], tmp_path / "out.npz")
    bad = {str(folder / "b.flac"): "the network's outputs are not finite"}
    assert about["failed"] == bad and about["embedded"] == 3


@pytest.fixture
def many(folder):
    """Ten files in all: two piles of four and one of two."""
    for i in range(6):
        save(folder, noise(8_000, level=0.3, seed=10 + i), name=f"e{i}.wav")
    return folder


def stopped(monkeypatch, after):
    """Interrupts what follows at the pile after so many."""
    left = iter(range(after))

    def run_whole(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return long_clips.run_whole(*arguments)

    monkeypatch.setattr(module, "run_whole", run_whole)


def test_a_run_that_was_stopped_goes_on(few, many, tmp_path, monkeypatch):
    whole = tmp_path / "whole.npz"
    embed_files(few, [many], whole, logits=True)
    out = tmp_path / "out.npz"
    (bad := many / "aa.wav").write_text("no audio")
    with monkeypatch.context() as patch:
        stopped(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            embed_files(few, [many], out, logits=True)
    assert not out.exists() and (tmp_path / "out.npz.parts").is_dir()
    bad.unlink()  # then all are the same files again
    states = []
    about = embed_files(
        few,
        [many],
        out,
        logits=True,
        progress=lambda *state: states.append(state),
    )
    assert (about["resumed"], about["embedded"], about["failed"]) == (7, 10, {})
    assert states == [(7, 10, 0), (10, 10, 0)]
    with np.load(whole) as expected, np.load(out) as found:
        assert set(found) == set(expected)
        for key in ("paths", "labels"):
            assert found[key].tolist() == expected[key].tolist()
        for key in ("embeddings", "logits"):
            np.testing.assert_allclose(found[key], expected[key], atol=1e-5)
    assert "out.npz.parts" not in names(tmp_path)


def test_a_file_that_changed_meanwhile_is_embedded_anew(
    few, many, tmp_path, monkeypatch
):
    out = tmp_path / "out.npz"
    with monkeypatch.context() as patch:
        stopped(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            embed_files(few, [many], out)
    save(many, noise(8_100, level=0.3, seed=99), name="a.wav")
    assert embed_files(few, [many], out)["resumed"] == 3
    with np.load(out) as found:
        assert found["paths"].tolist()[0] == str(many / "a.wav")
        own = expected(few, [many / "a.wav"])
        np.testing.assert_allclose(found["embeddings"][:1], own, atol=1e-4)


@pytest.mark.parametrize("spoilt", ["part", "result"])
def test_a_full_disk_leaves_nothing_half_written(
    few, many, tmp_path, monkeypatch, spoilt
):
    out = tmp_path / "out.npz"
    savez, calls = np.savez, []

    def full(file, **arrays):
        calls.append(file)
        if ("stamps" in arrays) == (spoilt == "part") and len(calls) > 1:
            file.write(b"PK half")
            raise OSError("no space left on device")
        savez(file, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="no space left"):
            embed_files(few, [many], out)
    assert not out.exists()
    about = embed_files(few, [many], out)
    assert (about["resumed"], about["embedded"]) == (4 if spoilt == "part" else 10, 10)


def test_parts_of_something_else_are_not_taken(
    few, classifier, many, tmp_path, monkeypatch
):
    out, parts = tmp_path / "out.npz", tmp_path / "out.npz.parts"
    with monkeypatch.context() as patch:
        stopped(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            embed_files(few, [many], out)
    with pytest.raises(ValueError, match="parts is of an unfinished run with .*False"):
        embed_files(few, [many], out, logits=True)
    weights = {**few.variables, "params": {**few.variables["params"]}}
    weights["params"]["head"] = {"dense": {"kernel": np.zeros((512, 12), np.float32)}}
    with pytest.raises(ValueError, match="remove it, or choose another --out"):
        embed_files(Classifier(few.card, weights), [many], out)
    (parts / "00001.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="00001.npz is damaged .*; remove it"):
        embed_files(few, [many], out)
    (parts / "about.json").unlink()
    with pytest.raises(ValueError, match="parts holds no about.json, so it is no unf"):
        embed_files(few, [many], out)
    assert names(parts) == ["00001.npz"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["in", "-o", "x.csv", "--model=m"],
            "x.csv: unknown kind '.csv'; known: .npz, ",
        ),
        (["in", "-o", "x", "--model=m"], "x: unknown kind ''; known: .npz, .parquet"),
        (["in", "-o", "old.npz", "--model=m"], "old.npz exists; remove it, or choose"),
        (
            ["in", "-o", "x.npz", "--model=m", "--split=a"],
            "--split is of prepared sets",
        ),
        (["in", "-o", "x.npz", "--model=m"], "m holds neither card.json nor check"),
        (["in", "b", "-o", "x", "--data=d"], "--data takes one run, not 2: .*--model"),
    ],
)
def test_bad_options_are_one_line(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.npz").write_text("")
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        cli.main(["embed", *words])
    assert names(tmp_path) == ["old.npz"]


def test_a_folder_without_audio_is_refused(classifier, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(
        ValueError, match="there is no audio file; those in folders end"
    ):
        embed_files(classifier, [tmp_path / "in"], tmp_path / "out.npz")
    assert names(tmp_path) == ["in"]


def test_parquet_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(embedding_table.importlib.util, "find_spec", lambda name: None)
    message = "needs pyarrow, which `pip install 'aemjax.prepare.'` brings; or name"
    with pytest.raises(ValueError, match=message):
        embedding_table.check_out("out.parquet")
    embedding_table.check_out("out.npz")


def test_names_that_are_not_utf8(classifier, folder, tmp_path):
    bad = str(folder / "a.wav") + "\udcff.wav"
    (folder / "a.wav").rename(bad)
    about = embed_files(classifier, [folder], tmp_path / "out.parquet")
    assert about["failed"] == {bad: "its name is not UTF-8; rename it"}
    assert bad.encode(errors="surrogateescape") in (
        (tmp_path / "out.parquet.errors.csv").read_bytes()
    )


def test_it_runs_without_what_training_needs():
    unwanted = {"optax", "orbax", "grain", "tqdm", "pyarrow", "tensorflow_datasets"}
    code = (
        f"import sys, aemjax.serve.embed_files; print({unwanted!r} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
