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


def test_the_command_says_where_ranges_come_from(pretrained, tmp_path):
    words = ["export", str(pretrained), "--format=onnx", "--dtype=int8"]
    with pytest.raises(
        SystemExit, match="ranges of activations on; name .* by --data$"
    ):
        cli.main([*words, f"--out={tmp_path / 'model.onnx'}"])
    assert not list(tmp_path.iterdir())


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
    """An engine whose logits are the audio's mean, and that notes what it is given."""

    def __init__(self, **metadata):
        self.metadata = {"input": "audio in [-1, 1]"} | metadata
        self.samples = []

    def __call__(self, audio):
        self.samples.append(audio.shape[1])
        return [audio.mean(axis=1, keepdims=True), None]


@pytest.fixture
def clips(monkeypatch):
    """int16 clips of a set "data", and the set."""

    def make(*n_samples):
        rng = np.random.default_rng(0)
        made = [rng.integers(-9_000, 9_000, n).astype(np.int16) for n in n_samples]
        data = object.__new__(PreparedSet)
        data.n_samples = np.array(n_samples)
        monkeypatch.setattr(PreparedSet, "read_audio", lambda self, row: made[row])
        return made, data

    return make


def test_windows_of_set_lengths_cover_a_clip(clips):
    engine = Mean(input_samples="160, 320, 480")
    made, data = clips(100, 300, 320, 1_200)
    found = engines.engine_logits(engine, data, range(4))[:, 0] * 32_768
    assert engine.samples == [480, 480, 480, 320, 320, 160]
    looped = [
        np.resize(clip, n) for clip, n in zip(made, (160, 320, 320), strict=False)
    ]
    windows = [made[3][start : start + 480] for start in (0, 360, 720)]
    expected = [*(x.mean() for x in looped), np.mean(windows)]
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_clips_of_a_length_run_one_after_the_other(clips, capsys):
    engine = Mean()
    made, data = clips(160, 320, 160, 320, 200)
    found = engines.engine_logits(engine, data, [4, 3, 2, 1])[:, 0] * 32_768
    assert engine.samples == [320, 320, 200, 160]
    expected = [made[row].mean() for row in (4, 3, 2, 1)]
    np.testing.assert_allclose(found, expected, atol=1e-2)
    assert "evaluate: 100%" in capsys.readouterr().err


def test_labels_are_cut_at_line_feeds_alone(audioset, monkeypatch):
    data = PreparedSet(audioset)
    own = list(data.label_names)
    own[0] += "\u2028\x0b\x85"
    engine = Mean(labels="\n".join(own))
    monkeypatch.setattr(engines, "open_engine", lambda path: engine)
    given = []
    monkeypatch.setattr(
        PreparedSet, "check_labels", lambda self, labels, what: given.append(labels)
    )
    monkeypatch.setattr(engines, "score", lambda *_: {})
    monkeypatch.setattr(engines, "engine_logits", lambda *_: None)
    engines.evaluate_file(audioset / "manifest.json", audioset)
    assert given == [own]


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
    with pytest.raises(
        ValueError, match="nothere.onnx does not exist, expected a file"
    ):
        engines.open_engine("nothere.onnx")
    with pytest.raises(ValueError, match="label"):
        engines.evaluate_file(file, esc50, split="full:1")


def test_noise_has_mean_0():
    for audio in check.random_audio([0.1, 0.2]):
        np.testing.assert_allclose(audio.mean(axis=1), 0, atol=1e-6)
