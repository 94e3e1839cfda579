import re

import numpy as np
import pytest

from aemjax.data.prepared import PreparedSet
from benchmarks import __main__, parity


@pytest.fixture
def tiny(monkeypatch):
    """One network, two lengths, few clips, no PyTorch."""
    sizes = {"NETWORKS": ("aemnet_dw",), "WIDTH": 1 / 16, "LENGTHS_S": (0.1, 0.2)}
    sizes |= {"CLIPS": 3, "CLIP_S": 0.2, "CALIBRATION_CLIPS": 2, "TRIED_CLIPS": 1}
    for name, value in (sizes | {"has_pytorch": lambda: False}).items():
        monkeypatch.setattr(parity, name, value)


def test_every_file_is_compared_with_flax(tiny, capsys):
    rows = parity.run(repeats=1)
    engines = [("Flax", "int8"), ("StableHLO", "float32")]
    engines += [
        (name, dtype)
        for name in ("ONNX Runtime", "LiteRT")
        for dtype in ("float32", "int8")
    ]
    assert [(row["engine"], row["precision"], row["seconds"]) for row in rows] == [
        (*engine, seconds) for engine in engines for seconds in (0.1, 0.2)
    ]
    for row in rows:
        assert row["clips"] == 3 and row["largest logit"] > 0.1
        low, high = (0, 1e-4) if row["precision"] == "float32" else (1e-3, 0.5)
        assert low <= row["largest difference"] / row["largest logit"] < high
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "PyTorch is left out: it is not installed"
    assert len(said) == 1 + len(rows)


@pytest.mark.torch
@pytest.mark.skipif(not parity.has_pytorch(), reason="no PyTorch")
def test_pytorch_is_compared_too(tiny, monkeypatch):
    monkeypatch.setattr(parity, "has_pytorch", lambda: True)
    monkeypatch.setattr(parity, "FILES", [])
    *_, row = parity.run(repeats=1)
    assert row["engine"] == "PyTorch"
    assert row["largest difference"] < 1e-4 < row["largest logit"]


def test_ranges_are_of_other_clips_than_those_of_the_split(tiny, monkeypatch, esc50):
    seen = []

    def measure(spec, clips, calibration):
        seen.append((spec, clips, calibration))
        return []

    monkeypatch.setattr(parity, "measure", measure)
    monkeypatch.setattr(parity, "CLIPS", 100)
    monkeypatch.setattr(parity, "CALIBRATION_CLIPS", 100)
    arguments = ["--run", "a", "--run", "b", "--data", str(esc50), "--split", "full:1"]
    __main__.main(["parity", *arguments])
    assert [spec for spec, *_ in seen] == ["a", "b"]
    _, clips, calibration = seen[0]
    data = PreparedSet(esc50)
    in_split = int(np.sum(data.fold == 1))
    assert (len(clips), len(calibration)) == (in_split, len(data) - in_split)
    known = {clip.tobytes() for clip in clips}
    assert not known & {clip.tobytes() for clip in calibration}


def test_differences_by_hand():
    expected = np.array([[3.0, 0.0, 4.0], [0.0, -5.0, 0.0]])
    found = np.array([[4.5, 0.0, 4.0], [0.0, -5.0, 0.0]])
    assert parity.difference(found, expected) == {
        "clips": 2,
        "largest difference": 1.5,
        "relative difference": pytest.approx(1.5 / np.sqrt(50)),
        "largest logit": 5.0,
        "top-1 agreement": 0.5,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ops", "--run", "a"], "--run, --data and --split are for parity alone"),
        (["parity", "--data", "a"], "--data and --split go together"),
    ],
)
def test_bad_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit):
        __main__.main(arguments)
    assert re.search(message, capsys.readouterr().err)


def test_the_command_is_written_whole():
    arguments = ["parity", "--run", "a", "--run", "b", "--data", "c", "--split", "d"]
    options = __main__.parser().parse_args(arguments)
    command = __main__._command("parity", options)
    assert command == (
        "python -m benchmarks parity --repeats 5 --run a --run b --data c --split d"
    )
