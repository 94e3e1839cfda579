"""The verb `stream`."""

import io
import json
import sys
import types

import pytest

import aemjax
from aemjax import cli
from aemjax.audio.read import to_int16
from aemjax.serve.streaming import ScoreStream
from tests.aemjax.audio.files import encode, noise

PCM = to_int16(noise(40_001, level=0.3))


class Input(io.BytesIO):
    """Standard input that gives little at once, an odd number of bytes among it."""

    ends_with = None

    def read1(self, size=-1):
        if data := super().read1(3_333):
            return data
        if self.ends_with:
            raise self.ends_with
        return b""


@pytest.fixture
def stream(monkeypatch, capsys, released):
    """(standard output, the exit's message or None) of the verb, given bytes."""

    def run(data, *words, model=released, ends_with=None):
        file = data if isinstance(data, io.BytesIO) else Input(data)
        file.ends_with = ends_with
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=file))
        message = None
        try:
            cli.main(["stream", f"--model={model}", *words])
        except SystemExit as stop:
            message = stop.code
        return capsys.readouterr().out, message

    return run


def test_scores_are_those_of_the_stream(stream, released):
    words = ["--window-s=1", "--hop-s=0.5", "--mean=0.01", "--std=0.2", "--top-k=3"]
    out, message = stream(PCM.astype("<i2").tobytes(), *words, "--format=json")
    assert message is None
    classifier = aemjax.load(released)
    given = {"window_s": 1, "hop_s": 0.5, "mean": 0.01, "std": 0.2}
    expected = ScoreStream(classifier, **given)
    expected = [*expected.push(PCM), *expected.close()]
    found = [json.loads(line) for line in out.splitlines()]
    # Frames are 0.04 s; the last one ends past the stream.
    ends = [0.52, 1, 1.52, 2, 40_001 / 16_000]
    assert [window.end_s for window in expected] == ends
    assert [(x["start_s"], x["end_s"]) for x in found] == [
        (window.start_s, window.end_s) for window in expected
    ]
    for one, window in zip(found, expected, strict=True):
        top = {x["label"]: x["probability"] for x in one["top"]}
        assert top == pytest.approx(dict(classifier.top(window.scores, 3)), abs=1e-5)
    lines = stream(PCM.tobytes(), *words)[0].splitlines()
    for line, one in zip(lines, found, strict=True):
        scores = [f"{x['probability']:.4f} {x['label']}" for x in one["top"]]
        times = f"{one['start_s']:8.2f} to {one['end_s']:8.2f} s"
        assert line == f"{times}  {', '.join(scores)}"


def test_running_statistics_are_the_default(stream, released):
    out, _ = stream(PCM.tobytes(), "--format=json", "--memory-s=0.1", "--top-k=12")
    expected = ScoreStream(aemjax.load(released), memory_s=0.1)
    windows = [*expected.push(PCM), *expected.close()]
    found = json.loads(out.splitlines()[-1])["top"]
    scores = {x["label"]: x["probability"] for x in found}
    own = dict(zip(aemjax.load(released).labels, windows[-1].scores, strict=True))
    assert scores == pytest.approx(own, abs=1e-5)
    other, _ = stream(PCM.tobytes(), "--format=json", "--memory-s=inf", "--top-k=12")
    assert out != other


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "error: standard input is empty; pipe raw samples, such as `ffmpeg"),
        (bytes(40_001), "ended after 40001 bytes, expected two for each sample"),
        (bytes(200), "the stream ended after 100 samples, a frame needs 160"),
        (encode(noise(800), format="WAV"), "begins with b'RIFF': a file, not raw sam"),
        (encode(noise(800), format="FLAC"), "begins with b'fLaC': a file, not raw"),
    ],
)
def test_bad_input_is_one_line(stream, data, message):
    assert message in stream(data)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top-k=0"], "error: top_k is 0, expected 1 or more"),
        (["--window-s=0"], "error: a window of 0.0 s, expected more than 0"),
        (["--hop-s=-1"], "error: a hop of -1.0 s, expected more than 0"),
        (["--mean=0.1"], "error: mean 0.1 and deviation None: give both or none"),
        (["--mean=0", "--std=0"], "error: mean 0.0 and deviation 0.0: expected finite"),
        (["--memory-s=0"], "error: a memory of 0.0 s, expected more than 0"),
        (["--block-s=-1"], "error: blocks of -1.0 s, expected a number of 0 or more"),
    ],
)
def test_bad_options_are_one_line(stream, words, message):
    assert stream(PCM.tobytes(), *words)[1].startswith(message)


def test_a_model_that_is_none_is_one_line(stream):
    message = stream(b"", model="nowhere")[1]
    assert message.startswith("error: nowhere holds neither card.json nor")


def test_a_terminal_is_not_waited_for(stream):
    class Terminal(io.BytesIO):
        def isatty(self):
            return True

    assert "standard input is a terminal; pipe raw" in stream(Terminal())[1]


def test_it_is_interrupted_without_an_error(stream):
    words = ["--hop-s=0.5", "--format=json"]
    out, message = stream(PCM.tobytes(), *words, ends_with=KeyboardInterrupt)
    ends = [json.loads(line)["end_s"] for line in out.splitlines()]
    assert message is None and ends == [0.52, 1, 1.52, 2]
