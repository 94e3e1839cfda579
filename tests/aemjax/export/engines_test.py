"""Exported files, integers among them, scored by their engines."""

import json

import numpy as np
import pytest

from aemjax import cli
from aemjax.data.prepared import PreparedSet
from aemjax.export import check, engines
from aemjax.export.write import export_checkpoint
from aemjax.train.evaluate import evaluate_checkpoint


@pytest.fixture(scope="module")
def file(pretrained, tmp_path_factory):
    """The pretrained network in ONNX."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_checkpoint(str(pretrained), path, format="onnx")
    return path


def test_a_file_scores_what_its_checkpoint_does(file, pretrained, audioset, capsys):
    cli.main(["evaluate", str(file), "--data", str(audioset), "--split", "eval"])
    found = json.loads(capsys.readouterr().out)
    expected = evaluate_checkpoint(str(pretrained), audioset, split="eval")
    assert found.pop("bytes") == file.stat().st_size
    step = expected.pop("step")
    assert step and set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-4), name


@pytest.mark.parametrize(
    "format", ["onnx", pytest.param("litert", marks=pytest.mark.slow)]
)
def test_integers_come_near_the_network(
    format, file, pretrained, audioset, tmp_path, capsys
):
    out = tmp_path / ("int8.onnx" if format == "onnx" else "int8.tflite")
    cli.main(
        ["export", str(pretrained), "--format", format, "--dtype", "int8"]
        + ["--out", str(out), "--data", str(audioset), "--standardize"]
        + (["--seconds", "0.5"] if format == "litert" else [])
    )
    about = json.loads(capsys.readouterr().out)
    assert 0 < about["relative difference of logits"] < 0.1
    data = PreparedSet(audioset)
    rows = np.flatnonzero(data.split == "eval")[:20]
    found, expected = (
        engines.engine_logits(engines.open_engine(path), data, rows)
        for path in (out, file)
    )
    error = np.sqrt(np.mean((found - expected) ** 2))
    assert error < 0.2 * np.sqrt(np.mean(expected**2))


def test_integers_need_audio_and_a_format_that_has_them(pretrained, tmp_path):
    options = {"dtype": "int8", "out": tmp_path / "model"}
    with pytest.raises(ValueError, match="no audio to find the ranges of activations"):
        export_checkpoint(str(pretrained), format="onnx", **options)
    for format in ("stablehlo", "pytorch"):
        with pytest.raises(ValueError, match=f"a file of {format} holds float32; tho"):
            export_checkpoint(str(pretrained), format=format, **options)
    with pytest.raises(ValueError, match="unknown dtype 'int4'; known: float32, int8"):
        export_checkpoint(
            str(pretrained), tmp_path / "model", format="onnx", dtype="int4"
        )
    assert not list(tmp_path.iterdir())


class Mean:
    """An engine of two seconds' windows, whose logits are the audio's mean."""

    metadata = {"input": "audio in [-1, 1]", "input_samples": "160, 320"}

    def __call__(self, audio):
        assert audio.shape == (1, 320)
        return [audio.mean(axis=1, keepdims=True), None]


def test_windows_of_set_lengths_cover_a_clip(monkeypatch):
    rng = np.random.default_rng(0)
    clips = [rng.integers(-9_000, 9_000, size).astype(np.int16) for size in (100, 800)]
    data = object.__new__(PreparedSet)
    monkeypatch.setattr(PreparedSet, "read_audio", lambda self, row: clips[row])
    short, long = engines.engine_logits(Mean(), data, [0, 1])[:, 0]
    assert short == pytest.approx(np.resize(clips[0], 320).mean() / 32_768, abs=1e-6)
    windows = [clips[1][start : start + 320].mean() for start in (0, 240, 480)]
    assert long == pytest.approx(np.mean(windows) / 32_768, abs=1e-6)


def test_what_is_no_file_of_ours_is_refused(file, esc50, tmp_path):
    for name, message in (
        ("model.pt", "ends in '.pt'; an exported file ends in one of .onnx, .zip, .tf"),
        ("model.onnx", "model.onnx is no ONNX file"),
        ("model.zip", "model.zip is no file of `aemjax export`"),
        ("model.tflite", "model.tflite is no LiteRT file"),
    ):
        (tmp_path / name).write_text("not a network")
        with pytest.raises(ValueError, match=message):
            engines.open_engine(tmp_path / name)
    with pytest.raises(ValueError, match="label"):
        engines.evaluate_file(file, esc50, split="full:1")


def test_noise_has_mean_0():
    for audio in check.random_audio([0.1, 0.2]):
        np.testing.assert_allclose(audio.mean(axis=1), 0, atol=1e-6)
