"""Bad files, networks and arguments: each is answered with a line that says what it is."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save as save_arrays

import aemjax
from aemjax import cli
from aemjax.audio.read import AudioError, read_audio
from aemjax.models import create
from aemjax.serve import embedding_parts, release
from aemjax.train.card import Card
from tests import bad_audio
from tests.aemjax.audio.files import encode, noise
from tests.aemjax.models.networks import random_variables, shapes_of
from tests.jobs import ROOT

MODEL = {"name": "tests.tiny:Backbone", "num_classes": 3}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A released network, of random weights."""
    folder = tmp_path_factory.mktemp("network") / "tiny"
    folder.mkdir()
    about = {"metric": "mAP", "commit": "unknown", "data": {}, "multi_label": True}
    card = Card(MODEL, 16_000, ["cat", "dog", "owl"], **about)
    variables = random_variables(shapes_of(create(**MODEL)))
    release.write_network(folder, variables, card, step=1)
    return folder


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """{path: reason} of files that cannot be used."""
    return bad_audio.write_bad(tmp_path_factory.mktemp("bad"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Files that can."""
    return bad_audio.write_odd(tmp_path_factory.mktemp("odd"))


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A good file, alone in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.wav").write_bytes(bad_audio.wav())
    return "clip.wav"


def run(capsys, *words):
    """(standard output, lines of standard error, exit code); without the progress."""
    code = 0
    try:
        cli.main(words)
    except SystemExit as stop:
        code = stop.code
        if isinstance(code, str):  # as Python's exit does with a text
            print(code, file=sys.stderr)
            code = 1
    out, err = capsys.readouterr()
    err = re.sub(r"\rembed: .*\n?", "", err)
    return out, err.splitlines(), code


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


def test_a_name_like_an_option(network, clip, capsys):
    os.rename(clip, "-x.wav")
    words = ["classify", f"--model={network}", "--format=csv"]
    out, lines, code = run(capsys, *words, "--", "-x.wav")
    assert (
        code == 0 and not lines and out.splitlines()[1].startswith('"-x.wav",0.0,0.1')
    )
    out, lines, code = run(capsys, *words, "-x.wav")
    assert code == 2 and "error: the following arguments are required" in lines[-1]


def test_a_file_that_is_named_twice(network, clip, capsys):
    words = ["embed", clip, clip, f"--model={network}", "-o", "out.npz"]
    assert json.loads(run(capsys, *words)[0])["embedded"] == 1
    out = run(capsys, "classify", clip, clip, f"--model={network}", "--format=json")[0]
    assert len(json.loads(out)) == 2


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


def with_weights(**changes):
    """Damage: other arrays by these names, or none."""

    def change(folder):
        variables, card, _ = release.read_network(folder)
        arrays = flatten_dict(variables, sep="/")
        for name, value in changes.items():
            name = name.replace("__", "/")
            old = arrays.pop(name)
            if value is not None:
                arrays[name] = value(old)
        metadata = {release.MODEL: json.dumps(card.model, sort_keys=True)}
        (folder / release.WEIGHTS).write_bytes(save_arrays(arrays, metadata))

    return change


def with_card(**changes):
    """Damage: other values in the card."""

    def change(folder):
        path = folder / release.CARD
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def with_bytes(name, data):
    return lambda folder: (folder / name).write_bytes(data)


DAMAGES = {
    "no release": (shutil.rmtree, "holds neither card.json nor checkpoints/; expected"),
    "weights of text": (
        with_bytes(release.WEIGHTS, b"no weights"),
        r"model\.safetensors cannot be read: .*; copy it again",
    ),
    "no weights": (with_bytes(release.WEIGHTS, b""), "safetensors cannot be read: "),
    "header past the end": (
        with_bytes(release.WEIGHTS, b"\xff" * 8 + b"{}"),
        "cannot be read: .*; copy",
    ),
    "NaN": (
        with_weights(params__head__dense__bias=lambda x: x * np.nan),
        "holds values that are not finite, in params/head/dense/bias",
    ),
    "an array is missing": (
        with_weights(params__backbone__conv3__kernel=None),
        "the weights are not those of the card's model: .*conv3.*; copy or make",
    ),
    "an array of another shape": (
        with_weights(params__head__dense__bias=lambda x: x[1:]),
        "the weights are not those of the card's model: .*shape.*; copy or make",
    ),
    "a card of bytes": (
        with_bytes(release.CARD, bytes(range(256))),
        r"card\.json is no card of ours: UnicodeDecodeError.*; copy it again",
    ),
    "a deep card": (with_bytes(release.CARD, b"[" * 100_000), "no card .* Recursion"),
    "a rate of text": (
        with_card(sample_rate="16000"),
        "sample_rate is '16000', expected int",
    ),
    "no rate": (with_card(sample_rate=0), "sample_rate is 0, expected 1 or more"),
    "numbers for labels": (
        with_card(labels=[1, 2, 3]),
        r"labels hold \[1, 2, 3\], exp",
    ),
    "labels of one text": (with_card(labels="abc"), "labels is 'abc', expected list"),
    "several or one": (
        with_card(multi_label="no"),
        "multi_label is 'no', expected bool",
    ),
    "another network's": (
        with_card(model=MODEL | {"width": 0.5}),
        r"model\.safetensors is of another network than card\.json",
    ),
    "a model of text": (with_card(model="aemnet"), "no card of ours: TypeError"),
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("verb", ["classify", "embed", "stream"])
def test_damaged_networks(network, clip, capsys, monkeypatch, verb, kind):
    damage, message = DAMAGES[kind]
    damage(Path(shutil.copytree(network, "copy")))
    pcm = io.BytesIO(bytes(64_000))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=pcm))
    words = {"classify": [clip], "embed": [clip, "-o", "out.npz"], "stream": []}[verb]
    out, lines, code = run(capsys, verb, *words, "--model=copy")
    assert (out, code) == ("", 1)
    assert len(lines) == 1 and re.search(f"^error: .*{message}", lines[0]), lines
    assert not os.path.exists("out.npz") and not os.path.exists("out.npz.lock")


NO_FOLDER = "nowhere holds no checkpoints/; expected a run's folder"
CLASSIFY = ["classify", "clip.wav", "--model=MODEL"]
EMBED = ["embed", "clip.wav", "--model=MODEL", "-o"]
STREAM = ["stream", "--model=MODEL"]
ONNX = ["export", "nowhere", "--format=onnx"]
LITERT = ["export", "nowhere", "--format=litert", "--out=new.tflite"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*CLASSIFY, "--top-k=0"], "top_k is 0, expected 1 or more"),
        ([*CLASSIFY, "--top-k=-1"], "top_k is -1, expected 1 or more"),
        ([*CLASSIFY, "--window-s=0"], "windows of 0.0 s every 0.0 s: expected a window"),
        ([*CLASSIFY, "--window-s=nan"], "windows of nan s every nan s: expected a win"),
        ([*CLASSIFY, "--window-s=inf"], "windows of inf s every inf s: expected a win"),
        ([*CLASSIFY, "--window-s=-1"], "windows of -1.0 s every -1.0 s: expected a win"),
        ([*CLASSIFY, "--window-s=1e-9"], "windows of 1e-09 s every 1e-09 s: expected"),
        ([*CLASSIFY, "--window-s=1e308"], r"windows of 1e.308 s every 1e.308 s: expect"),
        ([*CLASSIFY, "--window-s=1", "--hop-s=nan"], "every nan s: .*a hop of more than"),
        ([*CLASSIFY, "--window-s=1", "--hop-s=0"], "every 0.0 s: .*a hop of more than 0"),
        ([*CLASSIFY, "--window-s=1", "--hop-s=2"], "leave gaps; expected a hop no longer"),
        ([*CLASSIFY, "--hop-s=1"], "a hop of 1.0 s needs a window; name its length too"),
        (["classify", "clip.wav", "--model="], "holds neither card.json nor checkpoints"),
        (["classify", "clip.wav", "--model=clip.wav"], "clip.wav holds neither card.json"),
        (["classify", "clip.wav", "--model=empty@9"], "empty holds neither card.json nor"),
        (["classify", "clip.wav", "--model=foo://x"], "Unsupported filesystem: 'foo'"),
        ([*EMBED, "out.csv"], "out.csv: unknown kind '.csv'; known: .npz, .parquet"),
        ([*EMBED, "out"], "out: unknown kind ''; known: .npz, .parquet"),
        ([*EMBED, ""], "unknown kind ''; known: .npz, .parquet"),
        ([*EMBED, "old.npz"], "old.npz exists; remove it, or choose another --out"),
        ([*EMBED, "folder.npz"], "folder.npz exists; remove it, or choose another --out"),
        ([*EMBED, "clip.wav/out.npz"], "File exists: 'clip.wav'"),
        ([*EMBED, "/proc/out.npz"], "No such file or directory: '/proc/out.npz"),
        ([*EMBED, "x" * 252 + ".npz"], "File name too long"),
        ([*EMBED, "cut.npz"], "about.json is damaged .*; remove cut.npz.parts: its files"),
        ([*EMBED, "odd.npz"], "odd.npz.parts holds no about.json, so it is no unfinish"),
        ([*EMBED, "out.npz", "--batch-size=0"], "batch_size is 0, expected 1 or more"),
        ([*EMBED, "out.npz", "--split=a"], "--split is of prepared sets"),
        (["embed", "empty", "--model=MODEL", "-o=x.npz"], "there is no audio file; those"),
        (["embed", "nowhere", "--data=empty", "-o=new"], NO_FOLDER),
        ([*STREAM, "--top-k=0"], "top_k is 0, expected 1 or more"),
        ([*STREAM, "--window-s=nan"], "a window of nan s, expected more than 0, 3600 at"),
        ([*STREAM, "--window-s=1e9"], "a window of 1000000000.0 s, expected more than 0"),
        ([*STREAM, "--window-s=1e308"], "a window of 1e.308 s, expected more than 0"),
        ([*STREAM, "--hop-s=-1"], "a hop of -1.0 s, expected more than 0, 3600 at most"),
        ([*STREAM, "--hop-s=1e308"], "a hop of 1e.308 s, expected more than 0, 3600 at"),
        ([*STREAM, "--block-s=nan"], "blocks of nan s, expected a number of 0 or more"),
        ([*STREAM, "--block-s=1e9"], "blocks of 1000000000.0 s, expected a number of 0"),
        ([*STREAM, "--memory-s=nan"], "a memory of nan s, expected more than 0"),
        ([*STREAM, "--mean=0.1"], "mean 0.1 and deviation None: give both or none"),
        ([*STREAM, "--mean=nan", "--std=1"], "mean nan and deviation 1.0: expected fini"),
        ([*STREAM, "--mean=1e300", "--std=1"], "mean 1e.300 and .*divide those of 16-bit"),
        ([*STREAM, "--mean=0", "--std=3000"], "deviation 3000.0: .*divide those of 16-b"),
        ([*STREAM, "--mean=0", "--std=inf"], "mean 0.0 and deviation inf: expected fini"),
        (["release", "nowhere", "--out=new"], NO_FOLDER),
        (["release", "nowhere@abc", "--out=new"], NO_FOLDER),
        (["release", "nowhere", "--out=empty"], "empty exists; remove it, or choose ano"),
        (["release", "nowhere", "--out=."], r"\. exists; remove it, or choose another"),
        (["release", "nowhere", "--out=clip.wav/new"], "Not a directory: 'clip.wav/new"),
        ([*ONNX, "--out=new.onnx"], NO_FOLDER),
        ([*ONNX, "--out=old.npz"], "old.npz exists; remove it, or choose another --out"),
        ([*ONNX, "--out="], "exists; remove it, or choose another --out"),
        ([*ONNX, "--out=no/new.onnx"], "no is no folder; make it first"),
        ([*ONNX, "--out=new", "--dtype=int4"], "unknown dtype 'int4'; known: float32, in"),
        ([*ONNX, "--out=new", "--data=empty"], "empty is not a prepared set .*; make one"),
        ([*ONNX, "--out=new", "--seconds=1"], "only files of litert are for set lengths"),
        (["export", "x", "--format=tf", "--out=new"], "unknown format 'tf'; known: onnx"),
        (LITERT, "a file of litert takes audio of set lengths alone; name them, such as"),
        ([*LITERT, "--seconds=nan"], "--seconds nan: a network takes 0.01 or more"),
        ([*LITERT, "--seconds=1e308"], "--seconds 1e.308: a network takes 0.01 or more"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be(network, clip, capsys, monkeypatch, words, message):
    for folder in ("empty", "folder.npz", "cut.npz.parts", "odd.npz.parts"):
        os.mkdir(folder)
    Path("old.npz").write_text("")
    Path("cut.npz.parts/about.json").write_text('{"network": ')
    Path("odd.npz.parts/thesis.txt").write_text("years of work")
    before = sorted(os.listdir())
    pcm = io.BytesIO(bytes(64_000))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=pcm))
    words = [word.replace("MODEL", str(network)) for word in words]
    out, lines, code = run(capsys, *words)
    assert (out, code, len(lines)) == ("", 1, 1)
    assert re.search(f"^error: .*{message}", lines[0]), lines
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*CLASSIFY, "--top-k=abc"], "argument --top-k: invalid int value: 'abc'"),
        ([*CLASSIFY, "--top-k=1.5"], "argument --top-k: invalid int value: '1.5'"),
        ([*CLASSIFY, "--window-s=abc"], "argument --window-s: invalid float value: 'abc'"),
        ([*CLASSIFY, "--format=xml"], "argument --format: invalid choice: 'xml'"),
        ([*CLASSIFY, "--windw-s=1"], "unrecognized arguments: --windw-s=1"),
        (["classify", "clip.wav"], "the following arguments are required: --model"),
        (["classify", "--model=MODEL"], "the following arguments are required: FILE"),
        (["embed", "clip.wav", "--model=MODEL"], "arguments are required: -o/--out"),
        (["embed", "clip.wav", "-o=x.npz"], "one of the arguments --model --data is req"),
        ([*EMBED, "x.npz", "--data=d"], "argument --data: not allowed with argument --mo"),
        ([*EMBED, "x.npz", "--batch-size=abc"], "--batch-size: invalid int value: 'abc'"),
        ([*STREAM, "--hop-s="], "argument --hop-s: invalid float value: ''"),
        (["release", "nowhere"], "the following arguments are required: --out"),
        (["export", "nowhere", "--out=x"], "arguments are required: --format"),
        ([*LITERT, "--seconds=abc"], "argument --seconds: invalid lengths value: 'abc'"),
    ],
)  # fmt: skip
def test_arguments_that_are_none(clip, capsys, words, message):
    out, lines, code = run(capsys, *words)
    assert (out, code) == ("", 2) and lines[0].startswith("usage: aemjax")
    assert re.search(f"^aemjax.*: error: .*{message}", lines[-1]), lines
    assert os.listdir() == [clip]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "standard input is closed; pipe raw samples, such as `ffmpeg"),
        (b"", "standard input is empty; pipe raw samples, such as `ffmpeg"),
        (bytes(40_001), "ended after 40001 bytes, expected two for each sample; is it"),
        (bytes(2), "the stream ended after 1 samples, a frame needs 160"),
        (bad_audio.wav(), "begins with b'RIFF': a file, not raw samples; pipe raw"),
    ],
)
def test_streams_that_are_none(network, capsys, monkeypatch, data, message):
    stdin = None if data is None else types.SimpleNamespace(buffer=io.BytesIO(data))
    monkeypatch.setattr(sys, "stdin", stdin)
    _, lines, code = run(capsys, "stream", f"--model={network}")
    assert code == 1 and len(lines) == 1
    assert lines[0].startswith("error: ") and message in lines[0]


def test_as_many_classes_as_there_are(network, clip, capsys):
    words = [
        "classify",
        clip,
        f"--model={network}",
        "--format=csv",
        f"--top-k={10**20}",
    ]
    assert len(run(capsys, *words)[0].splitlines()) == 1 + 3


def test_a_second_run_of_one_result_is_refused(network, clip, tmp_path, capsys):
    out = tmp_path / "new" / "out.npz"
    words = ["embed", clip, f"--model={network}", "-o", str(out)]
    with embedding_parts.locked(out):
        _, lines, code = run(capsys, *words)
        assert code == 1 and lines == [
            f"error: another process is writing {out}; wait for it, or choose another "
            "--out"
        ]
        assert os.listdir(out.parent) == ["out.npz.lock"]
        other = str(out.with_name("other.npz"))
        assert run(capsys, *words[:-1], other)[2] == 0
    assert run(capsys, *words)[2] == 0
    assert sorted(os.listdir(out.parent)) == ["other.npz", "out.npz"]


def test_the_lock_of_a_killed_run_is_free(network, clip, capsys):
    code = (
        "import fcntl, time; file = open('out.npz.lock', 'a'); "
        "fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); time.sleep(60)"
    )
    words = ["embed", clip, f"--model={network}", "-o", "out.npz"]
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1) as other:
        try:
            other.stdout.readline()
            _, lines, code = run(capsys, *words)
        finally:
            other.kill()
    assert code == 1 and "error: another process is writing out.npz; " in lines[0]
    assert os.path.exists("out.npz.lock")
    assert run(capsys, *words)[2] == 0
    assert sorted(os.listdir()) == [clip, "out.npz"]


def test_what_another_run_finished_meanwhile_is_kept(
    network, clip, monkeypatch, capsys
):
    load = aemjax.load

    def slow(*arguments, **options):
        Path("out.npz").write_text("another run's")
        return load(*arguments, **options)

    monkeypatch.setattr(aemjax, "load", slow, raising=False)
    words = ["embed", clip, f"--model={network}", "-o", "out.npz"]
    assert run(capsys, *words)[1] == [
        "error: out.npz exists; remove it, or choose another --out"
    ]
    assert Path("out.npz").read_text() == "another run's"
    assert sorted(os.listdir()) == [clip, "out.npz"]


def test_nobody_reads_on(network, clip):
    """As of `| head`: with files enough for the pipe to fill."""
    code = f"""
import os, sys
from aemjax import cli
read, write = os.pipe()
os.close(read)
os.dup2(write, 1)
cli.main(["classify", {clip!r}, "--model={network}"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
