"""A clip scores the same alone, in any batch, from a run and from its release."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aemjax
from aemjax.audio.lengths import bucket_samples
from aemjax.audio.read import read_audio, standardize
from aemjax.models import create
from aemjax.serve.classifier import Classifier, batches
from aemjax.train.card import Card
from aemjax.train.checkpoint import load
from tests.aemjax.audio.files import noise, save
from tests.aemjax.models.networks import quick_jit, random_variables, shapes_of
from tests.jobs import ROOT

# From one frame on; some are no whole number of them.
LENGTHS = (160, 319, 1_000, 5_000, 5_119, 7_777, 8_001, 12_345)


@pytest.fixture(scope="module")
def classifier(released):
    return aemjax.load(released)


@pytest.fixture(scope="module")
def clips():
    return [noise(n, level=0.3, seed=n) + 0.1 for n in LENGTHS]


def test_a_clip_alone_is_what_the_model_makes_of_it(pretrained, classifier, clips):
    weights, card, _ = load(str(pretrained))
    apply = quick_jit(create(**card.model).apply)
    for clip in (clips[0], clips[2], clips[6]):
        logits, aux = apply(weights, jnp.asarray(standardize(clip))[None])
        found = classifier.embed(clip)
        assert found.shape == (512,) and found.dtype == np.float32
        np.testing.assert_allclose(found, aux["embedding"][0], atol=1e-4)
        found = classifier.scores(clip)
        assert found.shape == (12,) and found.dtype == np.float32
        np.testing.assert_allclose(found, jax.nn.sigmoid(logits[0]), atol=1e-4)


def test_the_others_in_a_list_do_not_matter(classifier, clips):
    alone = np.stack([classifier.embed(clip) for clip in clips])
    assert np.ptp(alone, axis=0).max() > 0.05  # clips differ by more
    order = np.random.default_rng(0).permutation(len(clips))
    together = classifier.embed([clips[i] for i in order])
    np.testing.assert_allclose(together, alone[order], atol=1e-4)
    few = Classifier(classifier.card, classifier.variables, batch_size=2)
    np.testing.assert_allclose(few.embed(clips), alone, atol=1e-4)
    scores = np.stack([classifier.scores(clip) for clip in clips])
    np.testing.assert_allclose(classifier.scores(clips), scores, atol=1e-4)


def test_many_lengths_are_few_compilations(classifier):
    own = Classifier(classifier.card, classifier.variables, batch_size=32)
    lengths = range(5_000, 7_000, 100)
    for n in lengths:
        own.embed(noise(n))
    shapes = len({bucket_samples(n) for n in lengths})
    assert own._forward._cache_size() == shapes == 3
    for n in lengths[::7]:
        own.scores(noise(n + 1))  # the same function
    assert own._forward._cache_size() == shapes
    for many in (20, 17, 19):  # are 32 rows of one length
        own.embed([noise(n) for n in lengths[-many:]])
        assert own._forward._cache_size() == shapes + 1


def test_on_a_cpu_clips_are_run_one_by_one(classifier, monkeypatch):
    own = Classifier(classifier.card, classifier.variables)
    assert own.batch_size == 1
    own.embed([noise(n) for n in (5_000, 5_000, 5_001)])
    assert own._forward._cache_size() == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert Classifier(classifier.card, classifier.variables).batch_size == 32


def test_batches_are_of_like_lengths_and_bounded():
    lengths = np.array([160, 16_000, 900, 16_000, 9_000, 7_900, 1_000_000, 170])
    plan = batches(lengths, 4, long_samples=160_000)
    assert [own.tolist() for own, _, _ in plan] == [[6], [1, 3, 4], [5], [2], [7, 0]]
    assert [rows for _, rows, _ in plan] == [1, 4, 1, 1, 2]
    assert [padded for *_, padded in plan][1:] == [16_480, 8_320, 1_120, 1_120]
    for batch_size, rows in ((3, [3, 3, 1]), (5, [5, 2]), (8, [8]), (100, [8])):
        plan = batches(np.full(7, 800), batch_size, long_samples=160_000)
        assert [found for _, found, _ in plan] == rows
        assert sum(len(own) for own, _, _ in plan) == 7
    # Of 20 s half as many as of 10 s, and never none.
    plan = batches(np.full(8, 320_000), 8, long_samples=160_000)
    assert [len(own) for own, _, _ in plan] == [3, 3, 2]
    plan = batches(np.full(2, 16_000_000), 8, long_samples=160_000)
    assert [rows for _, rows, _ in plan] == [1, 1]


def test_the_same_audio_in_other_forms(classifier):
    pcm = np.random.default_rng(0).integers(-9_000, 9_000, (3, 4_000), np.int16)
    audio = (pcm / 32_768).astype(np.float32)
    expected = classifier.embed(audio)
    assert expected.shape == (3, 512)
    for same in (
        pcm,
        list(pcm),
        tuple(audio),
        [pcm[0], audio[1], audio[2].astype(np.float64)],
        jnp.asarray(audio),
        0.1 * audio + 0.5,  # each clip is standardised
        audio.tolist(),
    ):
        np.testing.assert_allclose(classifier.embed(same), expected, atol=2e-4)
    assert classifier.embed([audio[0]]).shape == (1, 512)
    assert classifier.scores(audio[:1]).shape == (1, 12)
    assert np.isfinite(classifier.embed(np.zeros(800))).all()


def test_the_most_probable_classes_come_first(classifier, clips):
    scores = classifier.scores(clips[5])
    found = classifier.classify(clips[5], 3)
    assert found == [
        (classifier.labels[i], float(scores[i])) for i in np.argsort(-scores)[:3]
    ]
    assert len(classifier.classify(clips[5])) == 5
    everything = classifier.classify(clips[4:6], top_k=100)
    assert [len(one) for one in everything] == [12, 12]
    assert dict(everything[1][:3]) == pytest.approx(dict(found), abs=1e-4)
    with pytest.raises(ValueError, match="top_k is 0, expected 1 or more"):
        classifier.classify(clips[5], 0)
    with pytest.raises(ValueError, match="batch_size is 0, expected 1 or more"):
        Classifier(classifier.card, classifier.variables, batch_size=0)


def test_scores_are_those_of_the_labels(classifier, clips):
    assert classifier.multi_label and classifier.sample_rate == 16_000
    assert classifier.labels == tuple(classifier.card.labels)
    card = dataclasses.replace(classifier.card, multi_label=False)
    single = Classifier(card, classifier.variables)
    scores = single.scores(clips[2])
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    odds = classifier.scores(clips[2])
    odds = odds / (1 - odds)
    np.testing.assert_allclose(scores, odds / odds.sum(), atol=1e-4)


def test_other_rates_are_resampled_or_refused(classifier, tmp_path):
    audio = noise(22_050, level=0.3)
    file = save(tmp_path, audio, rate=44_100, subtype="FLOAT")
    expected = classifier.embed(read_audio(file))
    given = {"sampling_rate": 44_100, "resample": True}
    np.testing.assert_allclose(classifier.embed(audio, **given), expected, atol=1e-4)
    message = "44100 Hz, the network takes 16000; resample it, or pass resample=True"
    for method in (classifier.embed, classifier.scores, classifier.classify):
        with pytest.raises(ValueError, match=message):
            method(audio, sampling_rate=44_100)
    same = classifier.embed(audio, sampling_rate=16_000, resample=True)
    np.testing.assert_array_equal(same, classifier.embed(audio))
    with pytest.raises(ValueError, match="sampling_rate is 0 Hz, expected more than 0"):
        classifier.embed(audio, sampling_rate=0, resample=True)
    with pytest.raises(
        ValueError, match="the audio has 145 samples, a frame needs 160"
    ):
        classifier.embed(audio[:400], **given)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ([], "there is no audio: the list is empty"),
        (np.zeros((0, 800)), "there is no audio"),
        (np.zeros(0), "the audio has 0 samples, a frame needs 160 .10 ms at 16000 Hz"),
        (np.zeros(159), "the audio has 159 samples, a frame needs 160"),
        (
            np.zeros((800, 2)),
            "row 0 of the audio has 2 samples, .* along the last axis",
        ),
        (np.float32(1), r"the audio is of shape \(\), expected \(samples,\)"),
        (np.zeros((2, 2, 800)), r"the audio is of shape \(2, 2, 800\), expected"),
        (
            [np.zeros(800), np.zeros((1, 800))],
            r"audio\[1\] is of shape \(1, 800\), exp",
        ),
        ([0.0] * 800, r"audio\[0\] is of shape \(\), expected \(samples,\)"),
        (
            np.full(800, np.nan),
            "the audio has nan at sample 0, expected finite numbers",
        ),
        (np.append(np.zeros(800), -np.inf), "the audio has -inf at sample 800"),
        (
            np.zeros(800, np.int32),
            "the audio is of type int32, expected int16 or floats",
        ),
        (np.zeros(800, bool), "the audio is of type bool, expected int16 or floats"),
        (
            np.full(800, 300.0),
            r"the audio reaches 300, expected \[-1, 1\]; if these are",
        ),
        (np.full((2, 800), 1e300), "row 0 of the audio reaches 1e.300"),
    ],
)
def test_bad_audio_is_refused(classifier, audio, message):
    with pytest.raises(ValueError, match=message):
        classifier.embed(audio)


def test_a_network_of_integers(clips):
    about = {"name": "tests.tiny:Backbone", "num_classes": 7, "width": 0.25}
    about |= {"numerics": "int8"}
    variables = random_variables(shapes_of(create(**about)))
    variables["batch_stats"] = jax.tree.map(
        lambda _: np.float32(6), variables["batch_stats"]
    )
    card = Card(about, 16_000, list("abcdefg"), False, "accuracy", "-", {})
    classifier = Classifier(card, variables)
    apply = quick_jit(classifier.model.apply)
    for clip, found in zip(clips[3:5], classifier.embed(clips[3:5]), strict=True):
        _, aux = apply(variables, jnp.asarray(standardize(clip))[None])
        # A value near the middle of two may be rounded to either; a step is 6 / 127.
        np.testing.assert_allclose(found, aux["embedding"][0], atol=0.05)
        assert np.mean(np.abs(found - aux["embedding"][0]) > 1e-4) < 0.01
    np.testing.assert_allclose(classifier.scores(clips[3:5]).sum(1), 1, atol=1e-5)


def test_it_computes_in_float32_whatever_it_was_trained_in(classifier, clips):
    model = classifier.card.model | {"dtype": "bfloat16"}
    card = dataclasses.replace(classifier.card, model=model)
    found = Classifier(card, classifier.variables).embed(clips[4])
    np.testing.assert_array_equal(found, classifier.embed(clips[4]))


def test_the_guide_shows_what_works(released, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "released").symlink_to(released)
    save(tmp_path, noise(), name="clip.wav")
    guides = (ROOT / "docs" / "inference.md", ROOT / "README.md")
    for guide in guides:
        blocks = re.findall(r"^```python\n(.*?)^```", guide.read_text(), re.M | re.S)
        (block,) = (block for block in blocks if "aemjax.load" in block)
        shown = {}
        exec(block, shown)
        assert shown["embeddings"].shape == (2, 512)
