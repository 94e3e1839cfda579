"""The contract of a spectral front end."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.models import create, summarize
from aemjax.train import sharding
from tests.aemjax.models.spectra import (
    PRESETS,
    SMALL,
    TINY_BACKBONE,
    FrontEnd,
    chirp,
    front_end,
    noise,
    quick_jit,
)


@pytest.mark.parametrize("preset", PRESETS)
def test_100_frames_per_second(preset):
    model = create(TINY_BACKBONE, num_classes=2, frontend=preset)
    for n_samples, frames in ((160, 1), (319, 1), (16_000, 100), (160_000, 1_000)):
        assert summarize(model, n_samples=n_samples).output_frames == frames


@pytest.mark.parametrize("preset", SMALL)
def test_audio_shorter_than_a_frame_raises(preset):
    model = create(TINY_BACKBONE, num_classes=2, frontend=preset)
    with pytest.raises(ValueError, match="audio has 159 samples, a frame needs 160"):
        summarize(model, n_samples=159)


@pytest.mark.parametrize("preset", SMALL)
def test_padded_features_are_those_alone_at_any_length(preset):
    net = front_end(preset)
    lengths = [160, 279, 1_041, 1_599]
    batch = noise(len(lengths), 1_600)
    for row, n_samples in zip(batch, lengths, strict=True):
        row[n_samples:] *= 100
    features, valid = net.evaluate(jnp.asarray(batch), jnp.asarray(lengths))
    scale = np.abs(features).max()
    for i, n_samples in enumerate(lengths):
        alone, _ = net.evaluate(jnp.asarray(batch[i : i + 1, :n_samples]))
        assert valid[i] == alone.shape[1] == n_samples // 160
        np.testing.assert_allclose(
            features[i, : valid[i]] / scale, alone[0] / scale, atol=1e-5
        )
        assert not features[i, valid[i] :].any()


@pytest.mark.parametrize("preset", SMALL)
def test_padded_clips_score_as_alone(preset):
    model = create(TINY_BACKBONE, num_classes=5, frontend=preset, width=0.25)
    audio = noise(2, 1_700)
    variables = quick_jit(model.init)(jax.random.key(1), audio)
    # Running statistics that fit the features, as after training.
    features, _ = front_end(preset).evaluate(jnp.asarray(audio))
    stats = {"mean": features.mean((0, 1)), "var": features.var((0, 1))}
    variables["batch_stats"]["frontend"]["bn"] = stats
    apply = quick_jit(model.apply)
    logits, aux = apply(variables, audio)
    assert 0.1 < np.abs(logits).max() < 20  # else 1e-5 would say little
    padded = np.concatenate([audio, 100 * noise(2, 1_900)], axis=1)
    got, got_aux = apply(variables, padded, np.array([1_700, 1_700]))
    np.testing.assert_allclose(got, logits, rtol=1e-5, atol=1e-5)
    for name, value in aux.items():
        np.testing.assert_allclose(got_aux[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("preset", SMALL)
def test_statistics_are_those_of_valid_frames(preset):
    net = front_end(preset)
    whole, part = noise(1, 1_600), noise(1, 800, seed=1)
    padded = np.concatenate([part, 100 * noise(1, 800)], axis=1)
    batch = jnp.asarray(np.concatenate([whole, padded]))
    (got, _), new = net.train(batch, jnp.array([1_600, 800]))
    alone = [net.evaluate(jnp.asarray(x))[0][0] for x in (whole, part)]
    frames = np.concatenate(alone)  # of both clips
    before, after = net.variables["batch_stats"]["bn"], new["batch_stats"]["bn"]
    for name, value in (("mean", frames.mean(0)), ("var", frames.var(0))):
        expected = 0.9 * before[name] + 0.1 * value
        np.testing.assert_allclose(after[name], expected, rtol=1e-4, atol=1e-4)
    valid = np.concatenate([got[0], got[1, :5]])
    np.testing.assert_allclose(valid.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(valid.std(0), 1, atol=1e-3)
    assert not got[1, 5:].any()


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("preset", SMALL)
def test_silence_makes_no_nan_in_value_or_gradient(preset, train):
    net = front_end(preset)
    audio = jnp.asarray(noise(2, 1_600)).at[0].set(0).at[1, 300:].set(0)

    def loss(params, audio):
        variables = net.variables | {"params": params}
        (features, _), _ = net.module.apply(
            variables, audio, train=train, mutable=["batch_stats"]
        )
        return jnp.sin(features).sum(), features

    grad = quick_jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (of_params, of_audio), features = grad(net.variables["params"], audio)
    for leaf in (features, of_audio, *jax.tree.leaves(of_params)):
        assert np.isfinite(leaf).all()
    assert np.abs(of_audio[1, :300]).max() > 1e-3
    if not train:
        silent = (
            features[0] if preset.startswith("mfcc") else features[0] - np.log(1e-7)
        )
        np.testing.assert_allclose(silent, 0, atol=1e-3)


@pytest.mark.parametrize("preset", SMALL)
def test_bfloat16_is_a_matter_of_the_output(preset):
    audio = jnp.asarray(noise(1, 1_600))
    narrow = FrontEnd(preset, dtype=jnp.bfloat16)
    (features, _), new = narrow.train(audio)
    (expected, _), expected_new = front_end(preset).train(audio)
    assert features.dtype == jnp.bfloat16
    np.testing.assert_array_equal(features, expected.astype(jnp.bfloat16))
    jax.tree.map(np.testing.assert_array_equal, new, expected_new)
    assert {x.dtype for x in jax.tree.leaves(new)} == {jnp.dtype("float32")}


def test_the_waveform_is_not_rounded_on_its_way_in():
    audio = chirp().astype(np.float32)
    blocks = dict(num_classes=3, frontend="log_mel40", width=0.25)
    model = create(TINY_BACKBONE, **blocks, dtype="bfloat16")
    shapes = jax.eval_shape(model.init, jax.random.key(0), audio)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    net = front_end("log_mel40")
    for collection, leaves in net.variables.items():
        variables[collection]["frontend"] = leaves

    @quick_jit
    def features(audio):
        seen = []
        model.apply(variables, audio, alter_features=lambda x: seen.append(x) or x)
        return seen[0].astype(jnp.float32)

    expected, _ = net.evaluate(jnp.asarray(audio))
    rounded, _ = net.evaluate(jnp.asarray(audio, jnp.bfloat16))
    assert np.abs(rounded - expected).max() > 1
    # No more than the output's own rounding.
    np.testing.assert_allclose(features(audio), expected, rtol=2**-8, atol=1e-3)


@pytest.mark.parametrize("preset", SMALL)
def test_a_batch_split_over_devices_stays_where_it_is(preset):
    net = front_end(preset)
    replicated, split = sharding.shardings(sharding.data_mesh())

    def loss(params, audio, lengths):
        variables = net.variables | {"params": params}
        (features, _), new = net.module.apply(
            variables, audio, lengths, train=True, mutable=["batch_stats"]
        )
        return jnp.square(features).sum(), new

    shapes = (
        net.variables["params"],
        jax.ShapeDtypeStruct((16, 1_600), jnp.float32),
        jax.ShapeDtypeStruct((16,), jnp.int32),
    )
    step = jax.jit(
        jax.grad(loss, argnums=(0, 1), has_aux=True),
        in_shardings=(replicated, split, split),
        out_shardings=((replicated, split), replicated),
    )
    text = step.lower(*shapes).compile().as_text()
    moves = re.findall(r"(all-\w+|collective-\w+|reduce-scatter)(?:-start)?\(", text)
    assert set(moves) == {"all-reduce"}  # statistics and gradients; no audio
