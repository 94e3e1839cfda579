"""HEAR's API: what its validator checks, and what the numbers are."""

import importlib
import importlib.util
import re
import sys

import numpy as np
import pytest

import aemjax
from tests.aemjax.audio.files import noise
from tests.jobs import ROOT


def needs_torch(test):
    missing = not importlib.util.find_spec("torch")
    return pytest.mark.torch(pytest.mark.skipif(missing, reason="no PyTorch")(test))


@pytest.fixture(scope="module")
def torch():
    import torch

    return torch


@pytest.fixture(scope="module")
def hear(torch):
    from aemjax.serve import hear  # imports PyTorch

    return hear


@pytest.fixture(scope="module")
def model(hear, released):
    return hear.load_model(str(released))


def audio_of(torch, n_sounds, n_samples):
    rows = [noise(n_samples, level=0.5, seed=i) for i in range(n_sounds)]
    return torch.tensor(np.stack(rows))


@needs_torch
def test_the_model_says_what_it_is(torch, model):
    assert isinstance(model.to("cpu"), torch.nn.Module)
    assert model.sample_rate == 16_000
    assert model.scene_embedding_size == model.timestamp_embedding_size == 512
    assert {type(model.scene_embedding_size), type(model.sample_rate)} == {int}
    assert not list(model.parameters())


@needs_torch
def test_a_scene_is_the_clip(torch, hear, model, released):
    audio = audio_of(torch, 3, 5_984).requires_grad_()
    found = hear.get_scene_embeddings(audio, model)
    assert found.dtype == torch.float32 and found.shape == (3, 512)
    expected = aemjax.load(released).embed(audio.detach().numpy())
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(found.numpy(), axis=0).max() > 0.01
    assert torch.equal(model(audio), found)


@needs_torch
@pytest.mark.parametrize("n_samples", [160, 799, 800, 12_001])
def test_timestamps_are_regular_and_centred(torch, hear, model, n_samples):
    audio = audio_of(torch, 2, n_samples)
    embeddings, stamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == stamps.dtype == torch.float32
    n = -(-n_samples // 800)
    assert embeddings.shape == (2, n, 512) and stamps.shape == (2, n)
    assert stamps.tolist() == 2 * [[50.0 * i for i in range(n)]]
    assert torch.isfinite(embeddings).all()


@needs_torch
def test_a_timestamp_is_what_is_around_it(torch, hear, model):
    audio = audio_of(torch, 2, 24_000)
    audio[0, 16_000:] *= 0.1
    embeddings, stamps = hear.get_timestamp_embeddings(audio, model)
    clip = audio[0].numpy().astype(np.float64)
    clip = ((clip - clip.mean()) / clip.std()).astype(np.float32)
    inside = [i for i, ms in enumerate(stamps[0].tolist()) if 480 <= ms <= 1_020]
    assert len(inside) == 11
    windows = [clip[800 * i - 7_680 : 800 * i + 7_680] for i in inside]
    expected = model.classifier.outputs(windows, standardized=True)["embedding"]
    np.testing.assert_allclose(embeddings[0, inside], expected, atol=1e-4)
    assert np.abs(np.diff(expected, axis=0)).max() > 1e-3
    # At the ends it is mirrored.
    first = np.concatenate([clip[7_680:0:-1], clip[:7_680]])
    expected = model.classifier.outputs([first], standardized=True)["embedding"]
    np.testing.assert_allclose(embeddings[0, :1], expected, atol=1e-4)
    # What lies further away than that does not matter but for the clip's deviation.
    audio[1, 15_000:] = audio[1, 15_000:].flip(0)
    others, _ = hear.get_timestamp_embeddings(audio, model)
    changed = (others - embeddings)[1].abs().amax(1)
    assert changed[: (15_000 - 7_680) // 800].max() < 1e-4 < 1e-3 < changed[19:].max()


@needs_torch
def test_groups_of_windows_make_no_difference(torch, hear, model, monkeypatch):
    audio = audio_of(torch, 2, 8_000)
    whole, _ = hear.get_timestamp_embeddings(audio, model)
    monkeypatch.setattr(hear, "GROUP_BATCHES", 1)
    monkeypatch.setattr(model.classifier, "batch_size", 4)
    found, _ = hear.get_timestamp_embeddings(audio, model)
    np.testing.assert_allclose(found, whole, atol=1e-4)


@needs_torch
def test_bad_audio_is_refused(torch, hear, model):
    for call in (hear.get_scene_embeddings, hear.get_timestamp_embeddings):
        with pytest.raises(
            ValueError, match=r"of shape \(800,\), expected \(sounds, s"
        ):
            call(torch.zeros(800), model)
        with pytest.raises(ValueError, match="row 1 of the audio has nan at sample 5"):
            audio = torch.zeros(2, 800)
            audio[1, 5] = torch.nan
            call(audio, model)
        with pytest.raises(ValueError, match="has 100 samples, a frame needs 160"):
            call(torch.zeros(1, 100), model)
    with pytest.raises(ValueError, match="nowhere holds neither card.json nor"):
        hear.load_model("nowhere")


@needs_torch
def test_floats_of_any_width_are_audio_and_integers_are_not(torch, hear, model):
    audio = audio_of(torch, 2, 1_600).bfloat16()
    expected = hear.get_scene_embeddings(audio.float(), model)
    for dtype in (torch.bfloat16, torch.float64):
        found = hear.get_scene_embeddings(audio.to(dtype), model)
        assert torch.equal(found, expected)
    for dtype in (torch.int16, torch.bool, torch.complex64):
        with pytest.raises(ValueError, match=f"the audio is of {dtype}, expected floa"):
            hear.get_timestamp_embeddings(audio.to(dtype), model)


@needs_torch
def test_the_guide_shows_what_works(torch, released, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "released").symlink_to(released)
    guide = (ROOT / "docs" / "inference.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", guide, re.M | re.S)
    (block,) = (block for block in blocks if "hear.load_model" in block)
    shown = {"audio": audio_of(torch, 2, 1_600)}
    exec(block, shown)
    assert shown["scenes"].shape == (2, 512)
    assert shown["stamps_ms"].tolist() == [[0, 50], [0, 50]]


def test_without_pytorch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "aemjax.serve.hear", raising=False)
    with pytest.raises(ImportError, match="pip install 'aemjax.hear.'"):
        importlib.import_module("aemjax.serve.hear")
