"""A file for another engine gives what the model gives, or is not written."""

import json
import re

import numpy as np
import pytest

from aemjax import cli
from aemjax.data.prepared import PreparedSet
from aemjax.export import check, graph, onnx_file, stablehlo_file
from aemjax.export.write import export_checkpoint, new_file
from aemjax.train.checkpoint import load

ENGINES = {"onnx": onnx_file.Engine, "stablehlo": stablehlo_file.Engine}


@pytest.mark.parametrize("format", ENGINES)
def test_a_file_takes_any_batch_and_length(pretrained, tmp_path, format):
    out = tmp_path / "model"
    about = export_checkpoint(str(pretrained), out, format=format)
    assert about["bytes"] == out.stat().st_size > 10_000
    assert about["largest difference of logits"] <= 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.md"]
    network, engine = graph.read_network(str(pretrained)), ENGINES[format](out)
    _, card, _ = load(str(pretrained))
    assert engine.metadata == network.metadata
    assert engine.metadata["labels"].splitlines() == list(card.labels)
    assert engine.metadata["sample_rate"] == "16000"
    assert engine.metadata["scores"] == "sigmoid"
    rng = np.random.default_rng(1)
    for shape in ((1, 160), (4, 777), (2, 8_000)):
        audio = rng.normal(size=shape).astype(np.float32)
        for found, expected in zip(engine(audio), network(audio), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("format", ENGINES)
def test_the_page_beside_a_file_says_how_to_run_it(pretrained, tmp_path, format):
    export_checkpoint(str(pretrained), tmp_path / "model", format=format)
    page = (tmp_path / "model.md").read_text()
    results = json.loads((pretrained / "results.json").read_text())
    assert f"| mAP | {results['best']['mAP']:.4f} |  |\n" in page
    assert "\nOf the network, before it was written as a file; `aemjax eval" in page
    assert "Each clip must have mean 0 and deviation 1." in page
    assert ", and 2 more in the file's metadata.\n" in page
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (audio,) = check.random_audio([0.5])
    names = {"audio": audio}
    exec(code.replace('"model"', repr(str(tmp_path / "model"))), names)
    expected = graph.read_network(str(pretrained))(audio)
    np.testing.assert_allclose(names["logits"], expected[0], atol=1e-4)
    np.testing.assert_allclose(names["embedding"], expected[1], atol=1e-4)


@pytest.mark.parametrize(
    "format", ["onnx", pytest.param("stablehlo", marks=pytest.mark.slow)]
)
def test_standardising_inside_it_takes_audio_as_it_comes(
    pretrained, tmp_path, format, audioset, capsys
):
    out = tmp_path / "model"
    arguments = ["--format", format, "--out", str(out), "--data", str(audioset)]
    cli.main(["export", str(pretrained), "--standardize", *arguments])
    about = json.loads(capsys.readouterr().out)
    assert about["file"] == str(out)
    engine = ENGINES[format](out)
    assert engine.metadata["input"] == "audio in [-1, 1]"
    (audio,) = check.random_audio([0.5])
    plain = graph.read_network(str(pretrained))(audio)[0]
    np.testing.assert_allclose(engine(0.03 * audio + 0.2)[0], plain, atol=1e-3)
    silence = engine(np.full((1, 800), 0.25, np.float32))
    assert all(np.isfinite(values).all() for values in silence)


def test_real_clips_are_standardised_and_of_all_lengths(esc50):
    batches = check.real_audio(PreparedSet(esc50), clips=3)
    assert len(batches) == 3
    for audio in batches:
        assert audio.shape[0] == 1 and audio.dtype == np.float32
        assert abs(audio.mean()) < 1e-3 and audio.std() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("wrong", ["shifted", "nan", "short"])
def test_a_file_that_gives_something_else_is_not_kept(
    pretrained, tmp_path, monkeypatch, wrong
):
    right = stablehlo_file.Engine.__call__

    def run(engine, audio):
        logits, embedding = right(engine, audio)
        if wrong == "short":
            return logits[:, :-1], embedding
        other = np.nan if wrong == "nan" else 2e-4
        return logits + other, embedding

    monkeypatch.setattr(stablehlo_file.Engine, "__call__", run)
    with pytest.raises(ValueError, match="logits of audio .*(differ|are)"):
        export_checkpoint(str(pretrained), tmp_path / "model", format="stablehlo")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused(pretrained, tmp_path):
    with pytest.raises(ValueError, match="unknown format 'tflite'; known: onnx, stab"):
        export_checkpoint(str(pretrained), tmp_path / "model", format="tflite")
    with pytest.raises(ValueError, match="nowhere is no folder; make it first"):
        export_checkpoint(str(pretrained), tmp_path / "nowhere" / "m", format="onnx")
    (tmp_path / "model").write_text("mine")
    with pytest.raises(ValueError, match="model exists; remove it, or choose another"):
        export_checkpoint(str(pretrained), tmp_path / "model", format="onnx")
    assert (tmp_path / "model").read_text() == "mine"


def test_one_at_a_time_writes_a_file(tmp_path):
    out = tmp_path / "model"
    (tmp_path / "model.incomplete").write_text("of one that was killed")
    (tmp_path / "model.lock").touch()
    with new_file(out) as partial:
        partial.write_text("whole")
        with pytest.raises(ValueError, match="another process is writing .*model; wai"):
            with new_file(out):
                pass
    assert out.read_text() == "whole"
    with pytest.raises(ValueError, match="model exists; remove it"), new_file(out):
        pass
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
@pytest.mark.parametrize("format", ENGINES)
@pytest.mark.parametrize("name", ["aemnet", "aemnet_dw", "aemresnet"])
def test_the_published_networks(name, format, tmp_path, monkeypatch):
    import jax
    import jax.numpy as jnp

    from aemjax import models

    about = {"name": name, "num_classes": 4, "width": 0.25}
    model = models.create(**about)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16_000)))
    card = type("Card", (), {"model": about, "labels": list("abcd"), "commit": "-"})
    card.sample_rate, card.multi_label = 16_000, False
    monkeypatch.setattr(graph, "load", lambda spec: (variables, card, 0))
    about = export_checkpoint("untrained", tmp_path / "model", format=format)
    # Not trained, its logits reach a hundred.
    assert about["largest difference of logits"] <= 1e-3
