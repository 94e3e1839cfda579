"""Standard input and output that are closed, empty or of something else."""

import io
import os
import subprocess
import sys
import types

import pytest

from tests import bad_audio
from tests.aemjax.cli.conftest import run
from tests.jobs import ROOT


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


@pytest.mark.parametrize("verb", ["classify", "stream"])
def test_output_that_is_closed(network, clip, capsys, monkeypatch, verb):
    """As by `>&-`."""
    monkeypatch.setattr(sys, "stdout", None)
    files = {"classify": [clip], "stream": []}[verb]
    _, lines, code = run(capsys, verb, *files, f"--model={network}")
    assert code == 1 and len(lines) == 1
    assert lines[0].startswith("error: standard output is closed, expected a terminal")


def test_nobody_reads_on(network, clip):
    """As behind `| head` that has ended: the pipe is closed before the first line."""
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
