"""Bad arguments: each is answered with a line that says what was expected."""

import io
import json
import os
import re
import sys
import types
from pathlib import Path

import pytest

from tests.aemjax.cli.conftest import run

NO_FOLDER = "nowhere holds no checkpoints/; expected a run's folder"
CLASSIFY = ["classify", "clip.wav", "--model=MODEL"]
EMBED = ["embed", "clip.wav", "--model=MODEL", "-o"]
STREAM = ["stream", "--model=MODEL"]
ONNX = ["export", "nowhere", "--format=onnx"]
PREPARE = ["prepare", "esc50", "--source=empty", "--out=new"]
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
        (["classify", "empty", "--model=MODEL"], "empty: cannot be read .*`aemjax embed`"),
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
        ([*STREAM, "--window-s=1", "--hop-s=3"], "windows of 1.0 s every 3.0 s would lea"),
        ([*STREAM, "--block-s=nan"], "blocks of nan s, expected a number of 0 or more"),
        ([*STREAM, "--block-s=1e9"], "blocks of 1000000000.0 s, expected a number of 0"),
        ([*STREAM, "--memory-s=nan"], "a memory of nan s, expected more than 0"),
        ([*STREAM, "--mean=0.1"], "mean 0.1 and deviation None: give both or none"),
        ([*STREAM, "--mean=nan", "--std=1"], "mean nan and deviation 1.0: expected fini"),
        ([*STREAM, "--mean=1e300", "--std=1"], "mean 1e.300 and .*divide those of 16-bit"),
        ([*STREAM, "--mean=0", "--std=3000"], "deviation 3000.0: .*divide those of 16-b"),
        ([*STREAM, "--mean=0", "--std=inf"], "mean 0.0 and deviation inf: expected fini"),
        (["evaluate", "no.onnx", "--data=x"], "no.onnx does not exist, expected a file"),
        (["evaluate", "folder.npz", "--data=x"], "folder.npz holds no checkpoints/; exp"),
        (["release", "nowhere", "--out=new"], NO_FOLDER),
        (["release", "nowhere@abc", "--out=new"], NO_FOLDER),
        (["release", "nowhere", "--out=empty"], "empty exists; remove it, or choose ano"),
        (["release", "nowhere", "--out=."], r"\. exists; remove it, or choose another"),
        (["release", "nowhere", "--out=clip.wav/new"], "Not a directory: 'clip.wav/new"),
        ([*ONNX, "--out=new.onnx"], NO_FOLDER),
        ([*ONNX, "--out=old.npz"], "old.npz exists; remove it, or choose another --out"),
        ([*ONNX, "--out="], "exists; remove it, or choose another --out"),
        ([*ONNX, "--out=no/new.onnx"], "no is no folder; make it first"),
        ([*ONNX, "--out=new", "--dtype=int8"], NO_FOLDER),
        ([*ONNX, "--out=new", "--dtype=int4"], "unknown dtype 'int4'; known: float32, in"),
        ([*ONNX, "--out=new", "--data=empty"], "empty is not a prepared set .*; make one"),
        ([*ONNX, "--out=new", "--seconds=1"], "only files of litert are for set lengths"),
        (["export", "x", "--format=tf", "--out=new"], "unknown format 'tf'; known: onnx"),
        (LITERT, "a file of litert takes audio of set lengths alone; name them, such as"),
        ([*LITERT, "--seconds=nan"], "--seconds nan: a network takes 0.01 or more"),
        ([*LITERT, "--seconds=1e308"], "--seconds 1e.308: a network takes 0.01 or more"),
        ([*PREPARE, "--workers=0"], "--workers is 0, expected 1 or more"),
        ([*PREPARE, "--runner=X", "--workers=4"], "--workers 4 is for this .*--runner X;"),
        ([*PREPARE[:1], ":BIRDS", *PREPARE[2:]], "':BIRDS' cannot be imported: Empty mod"),
        (
            ["summary", "--config=x.py", "--classes=10", "--llf=llf2", "--width=.5"],
            "x.py names its own; leave out --llf llf2, --width 0.5, --classes 10$",
        ),
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


def test_as_many_classes_as_there_are(network, clip, capsys):
    words = [
        "classify",
        clip,
        f"--model={network}",
        "--format=csv",
        f"--top-k={10**20}",
    ]
    assert len(run(capsys, *words)[0].splitlines()) == 1 + 3


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "get = 1\n",
            "x.py defines no get_config; expected an experiment file, such as",
        ),
        (
            "get config\n",
            r"x.py is no Python \(invalid syntax .*; expected an experiment",
        ),
    ],
)
def test_a_config_that_is_none(clip, capsys, text, message):
    Path("x.py").write_text(text)
    out, lines, code = run(capsys, "summary", "--config=x.py:scratch")
    assert (out, code, len(lines)) == ("", 1, 1)
    assert re.search(f"^error: .*{message}", lines[0]), lines
