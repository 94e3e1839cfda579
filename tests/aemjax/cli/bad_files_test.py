"""Bad audio files: each is answered with a line that says what it is; odd ones are read."""

import csv
import io
import json
import os
import re
from collections import Counter

import numpy as np
import pytest

import aemjax
from aemjax import cli
from aemjax.audio.read import AudioError, read_audio
from tests import bad_audio
from tests.aemjax.audio.files import encode, noise
from tests.aemjax.cli.conftest import run


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """{path: reason} of files that cannot be used."""
    return bad_audio.write_bad(tmp_path_factory.mktemp("bad"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Files that can."""
    return bad_audio.write_odd(tmp_path_factory.mktemp("odd"))


def shuffled(values):
    order = np.random.default_rng(0).permutation(len(values))
    return [values[i] for i in order]


def read_errors(out):
    """[(file, reason)] beside a result."""
    options = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with open(f"{out}.errors.csv", **options) as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "reason"]
    return [tuple(row) for row in rows]


def test_there_are_many_kinds():
    assert len(bad_audio.BAD) >= 50 and len(bad_audio.PLACES) >= 10
    assert len(bad_audio.ODD) >= 15 and len(bad_audio.NAMES) >= 15


def test_classify_says_what_is_wrong_with_each(network, bad, odd, capsys):
    files = shuffled([*bad, *odd])
    words = ["classify", *files, f"--model={network}", "--format=json", "--top-k=1"]
    out, lines, code = run(capsys, *words)
    assert code == 1
    assert [one["file"] for one in json.loads(out)] == [x for x in files if x in odd]
    wrong = [file for file in files if file in bad]
    for file, line in zip(wrong, lines, strict=True):
        assert line.startswith(f"error: {file}: ")
        assert re.search(bad[file], line.removeprefix(f"error: {file}: ")), line


def test_embed_says_what_is_wrong_with_each(network, bad, odd, tmp_path, capsys):
    folders = [file for file in bad if os.path.isdir(file)]
    files = [file for file in shuffled([*bad, *odd]) if file not in folders]
    out = tmp_path / "out.npz"
    words = ["embed", *files, *folders, f"--model={network}", "-o", str(out)]
    printed, lines, code = run(capsys, *words)
    wrong = [file for file in files if file in bad]
    about = {"embedded": len(odd), "out": str(out), "errors": f"{out}.errors.csv"}
    assert json.loads(printed) == about | {"resumed": 0, "failed": len(wrong)}
    assert code == 0
    rows = read_errors(out)
    assert [file for file, _ in rows] == wrong
    for file, reason in rows:
        assert re.search(bad[file], reason), (file, reason)
    assert lines[:-1] == [f"error: {file}: {reason}" for file, reason in rows[:20]]
    assert lines[-1] == f"and {len(wrong) - 20} more, in {out}.errors.csv"
    with np.load(out) as found:
        assert found["paths"].tolist() == [file for file in files if file in odd]
        assert np.isfinite(found["embeddings"]).all()
    assert sorted(os.listdir(tmp_path)) == ["out.npz", "out.npz.errors.csv"]


@pytest.mark.parametrize(
    "name", ["empty.wav", "pipe.wav", "endless.wav", "announces_8_times_27_h.flac"]
)
def test_one_alone(network, bad, tmp_path, capsys, name):
    file, reason = next(x for x in bad.items() if x[0].endswith(f"/{name}"))
    _, lines, code = run(capsys, "classify", file, f"--model={network}")
    assert code == 1 and len(lines) == 1 and re.search(reason, lines[0])
    words = ["embed", file, f"--model={network}", "-o", str(tmp_path / "out.npz")]
    printed, lines, code = run(capsys, *words)
    assert code == 1 and len(lines) == 1 and re.search(reason, lines[0])
    assert json.loads(printed)["out"] is None
    assert os.listdir(tmp_path) == ["out.npz.errors.csv"]


def test_bits_that_flipped():
    formats = {
        **{"WAV": {"format": "WAV"}, "FLAC": {"format": "FLAC"}},
        **{"OGG": {"format": "OGG"}, "MP3": {"format": "MP3"}},
        **{"ADPCM": {"format": "WAV", "subtype": "IMA_ADPCM"}},
        **{"ALAC": {"format": "CAF", "subtype": "ALAC_16"}},
    }
    for name, options in formats.items():
        data, outcomes = encode(noise(3_200), **options), Counter()
        for seed in range(60):
            try:
                audio = read_audio(bad_audio.flipped(data, seed))
                assert audio.dtype == np.float32 and np.abs(audio).max() <= 1
                assert 160 <= len(audio) < 100_000
                outcomes["read"] += 1
            except AudioError as error:
                assert str(error).startswith("<bytes>: ")
                outcomes["refused"] += 1
        # An Ogg page has a sum, so next to nothing of it passes.
        assert outcomes["refused"] > 5 and (name == "OGG" or outcomes["read"]), name


def test_bad_files_of_any_name(network, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    files = bad_audio.write_named(tmp_path / "in", b"no audio")
    _, lines, code = run(capsys, "classify", *files, f"--model={network}")
    assert code == 1 and len(lines) == len(files)
    for file, line in zip(files, lines, strict=True):
        assert line.isprintable()
        shown = file.encode("utf-8", "backslashreplace").decode()
        assert line.startswith(f"error: {shown}: cannot be") or not file.isprintable()
    out = tmp_path / "out.npz"
    words = ["embed", str(tmp_path / "in"), f"--model={network}", "-o", str(out)]
    _, lines, code = run(capsys, *words)
    assert code == 1 and len(lines) == len(files)
    assert all(line.isprintable() and line.startswith("error: ") for line in lines)
    found = dict(read_errors(out))
    assert sorted(found) == sorted(files)
    odd = str(tmp_path / "in" / bad_audio.NOT_UTF_8)
    assert found.pop(odd) == "its name is not UTF-8; rename it"
    assert all(reason.startswith("cannot be read (") for reason in found.values())


def test_good_files_of_any_name(network, tmp_path, capsysbinary):
    (tmp_path / "in").mkdir()
    files = bad_audio.write_named(tmp_path / "in", bad_audio.wav())

    def classify(form):
        words = ["classify", *files, f"--model={network}", "--top-k=1"]
        cli.main([*words, f"--format={form}"])
        return capsysbinary.readouterr().out.decode("utf-8", "surrogateescape")

    assert [one["file"] for one in json.loads(classify("json"))] == files
    rows = list(csv.DictReader(io.StringIO(classify("csv"), newline="")))
    assert [row["file"] for row in rows] == files
    assert len(classify("table").splitlines()) == 2 * len(files)
    for ending in ("npz", "parquet"):
        out = tmp_path / f"out.{ending}"
        cli.main(["embed", str(tmp_path / "in"), f"--model={network}", "-o", str(out)])
        unnamed = str(tmp_path / "in" / bad_audio.NOT_UTF_8)
        assert read_errors(out) == [(unnamed, "its name is not UTF-8; rename it")]
    found = np.load(tmp_path / "out.npz")["paths"].tolist()
    assert sorted([*found, unnamed]) == sorted(files)


def test_more_than_5_min_is_run_in_pieces(network, tmp_path, monkeypatch):
    from aemjax.serve import long_clips
    from aemjax.serve.files import classify_files

    (tmp_path / "long.wav").write_bytes(bad_audio.wav(noise(40_000, level=0.3)))
    classifier = aemjax.load(network)
    monkeypatch.setattr(long_clips, "PIECE_S", 1)
    lengths, outputs = [], classifier.outputs

    def outputs_of(clips, **options):
        lengths.extend(map(len, clips))
        return outputs(clips, **options)

    monkeypatch.setattr(classifier, "outputs", outputs_of)
    file = str(tmp_path / "long.wav")
    [[piece]] = classify_files(classifier, [file], top_k=3)
    assert (piece.start_s, piece.end_s) == (0, 2.5)
    assert len(lengths) == 3 and sum(lengths) == 40_000
    expected = dict(classifier.classify(read_audio(file), 3))
    assert dict(piece.top) == pytest.approx(expected, abs=0.02)
