import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.models import create, summarize
from aemjax.models.layers import BATCH_NORM_EPSILON
from aemjax.models.spectral import MFCC, SPECTRAL_PRESETS, LogMel
from aemjax.train import param_groups, sharding

PRESETS = tuple(SPECTRAL_PRESETS)
SMALL = ("log_mel40", "mfcc40")  # where only the class makes a difference
CHANNELS = {"log_mel": 128, "log_mel40": 40, "mfcc": 128, "mfcc40": 40}
TINY_BACKBONE = "tests.tiny:Backbone"

# (frame, band or coefficient) -> value, of `chirp`, in float64: librosa 0.11.0's
# `preemphasis` (zi=[0]), `stft` (np.hamming(400), centred as here), `melspectrogram`
# (htk=True, norm=None), `mfcc` (norm="ortho"), python_speech_features 0.6's `lifter`.
LIBROSA = {
    "log_mel": {
        (0, 0): -10.49692,
        (0, 127): -8.19718,
        (2, 84): 1.09945,
        (10, 89): 2.69162,
        (12, 64): -10.07495,
        (17, 110): 3.75903,
        (19, 3): -8.07493,
    },
    "log_mel40": {
        (0, 0): -8.62034,
        (0, 39): -7.07408,
        (2, 26): 1.3371,
        (10, 28): 3.37434,
        (12, 20): -8.84357,
        (17, 34): 4.2813,
        (19, 3): -6.63149,
    },
    "mfcc": {
        (0, 0): 16.8207,
        (0, 127): -5.777,
        (2, 84): -7.4107,
        (10, 89): 4.3121,
        (12, 64): 16.4901,
        (17, 110): 1.6334,
        (19, 3): -54.6103,
    },
    "mfcc40": {
        (0, 0): 8.2483,
        (0, 39): 13.6661,
        (2, 26): -4.6447,
        (10, 28): 21.0651,
        (12, 20): -31.0631,
        (17, 34): -19.1208,
        (19, 3): -40.4387,
    },
}


def chirp():
    """0.2 s from 200 Hz to 6.2 kHz, beside 3 kHz."""
    t = np.arange(3_200) / 16_000
    sweep = np.sin(2 * np.pi * (200 * t + 15_000 * t**2))
    return (sweep + 0.3 * np.sin(2 * np.pi * 3_000 * t))[None]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# On inputs this small, LLVM's optimisations take longer than they save.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


class FrontEnd:
    """A front end whose BatchNorm passes everything through, and its compiled forms."""

    def __init__(self, preset, **fields):
        self.module = SPECTRAL_PRESETS[preset](**fields)
        channels = fields.get("coefficients", CHANNELS[preset])
        ones, zeros = np.ones(channels, "float32"), np.zeros(channels, "float32")
        stats = {"mean": zeros, "var": ones - np.float32(BATCH_NORM_EPSILON)}
        self.variables = {
            "params": {"bn": {"scale": ones, "bias": zeros}},
            "batch_stats": {"bn": stats},
        }
        apply = functools.partial(self.module.apply, self.variables)
        self.evaluate = quick_jit(functools.partial(apply, train=False))
        self.train = quick_jit(
            functools.partial(apply, train=True, mutable=["batch_stats"])
        )


front_end = functools.cache(FrontEnd)


# Numbers.


@pytest.mark.parametrize("preset", PRESETS)
def test_features_are_librosas(preset):
    features, valid = front_end(preset).evaluate(jnp.asarray(chirp(), "float32"))
    assert features.shape == (1, 20, CHANNELS[preset]) and valid is None
    for (frame, channel), expected in LIBROSA[preset].items():
        got = features[0, frame, channel]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("preset", PRESETS)
def test_features_in_float64_are_librosas_to_the_digits_printed(preset):
    with jax.enable_x64(True):
        net = FrontEnd(preset, dtype=jnp.float64)
        features, _ = net.evaluate(jnp.asarray(chirp()))
        assert features.dtype == jnp.float64
        got = {at: float(features[0][at]) for at in LIBROSA[preset]}
    for at, expected in LIBROSA[preset].items():
        # The variance of 1 - epsilon is a float32.
        np.testing.assert_allclose(got[at], expected, rtol=1e-6, atol=6e-5)


@pytest.mark.parametrize("preset", ["mfcc", "mfcc40"])
def test_the_mean_of_mfcc_over_the_valid_frames_is_zero(preset):
    audio = jnp.asarray(noise(2, 3_200))
    features, _ = front_end(preset).evaluate(audio, jnp.array([3_200, 1_700]))
    for row, frames in zip(features, (20, 10), strict=True):
        scale = np.abs(row).max()
        np.testing.assert_allclose(row[:frames].mean(0) / scale, 0, atol=1e-6)


def test_every_size_is_a_field():
    audio = jnp.asarray(noise(1, 1_600))

    def features(preset, **fields):
        return FrontEnd(preset, **fields).evaluate(audio)[0]

    plain = features("log_mel40")
    for other in (
        dict(window_samples=320),
        dict(n_fft=1024),
        dict(min_hz=100.0),
        dict(max_hz=4000.0),
        dict(pre_emphasis=0.9),
        dict(floor=1.0),
    ):
        changed = features("log_mel40", **other)
        assert changed.shape == plain.shape == (1, 10, 40)
        assert np.abs(changed - plain).max() > 0.05, other
    cepstra = features("mfcc40")
    few = features("mfcc40", coefficients=13)
    assert few.shape == (1, 10, 13)
    np.testing.assert_allclose(few, cepstra[..., :13], rtol=1e-4, atol=1e-4)
    assert np.abs(features("mfcc40", lifter=22) - cepstra).max() > 0.05


# The contract of a front end.


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


# Assembly.


@pytest.mark.parametrize("preset", PRESETS)
def test_parameters_are_those_of_the_batch_norm(preset):
    model = create("aemresnet", num_classes=3, frontend=preset, width=0.125)
    audio = jax.ShapeDtypeStruct((1, 800), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), audio)
    size = (CHANNELS[preset],)
    got = jax.tree.map(jnp.shape, variables["params"]["frontend"])
    assert got == {"bn": {"bias": size, "scale": size}}
    got = jax.tree.map(jnp.shape, variables["batch_stats"]["frontend"])
    assert got == {"bn": {"mean": size, "var": size}}
    params = variables["params"]
    groups = param_groups.of_fine_tuning(model, params, total_steps=9, lr_fraction=0.1)
    labels = param_groups.labels(params, groups)
    assert labels["frontend"]["bn"] == {"bias": "embedder", "scale": "embedder"}


@pytest.mark.parametrize("name", ["aemnet", "aemnet_dw", "aemresnet"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_combination_builds(preset, name):
    model = create(name, num_classes=5, frontend=preset, width=0.25, dtype="bfloat16")
    audio = jax.ShapeDtypeStruct((2, 160), jnp.float32)
    init = functools.partial(model.init_with_output, jax.random.key(0))
    (logits, aux), _ = jax.eval_shape(init, audio)
    assert logits.shape == (2, 5) and aux["embedding"].shape == (2, 512)


def test_a_frozen_front_end_keeps_its_statistics():
    audio = jnp.asarray(noise(2, 800))

    @functools.partial(quick_jit, static_argnums=0)
    def means(frozen):
        blocks = dict(num_classes=3, frontend="log_mel40", dropout=0.0)
        model = create(TINY_BACKBONE, width=0.25, **blocks).clone(frozen=frozen)
        variables = model.init(jax.random.key(0), audio)
        _, new = model.apply(variables, audio, train=True, mutable=["batch_stats"])
        return new["batch_stats"]["frontend"]["bn"]["mean"]

    assert np.abs(means(())).max() > 0.1
    assert not means(("frontend",)).any()


def test_unknown_names_are_told_the_spectral_ones():
    message = r"unknown front end 'logmel'; known: .*'log_mel40', 'mfcc', 'mfcc40'\]"
    with pytest.raises(ValueError, match=message):
        create("aemnet", num_classes=2, frontend="logmel")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (LogMel(n_fft=512), "1 of 128 mel bands .* hold no bin of a 512-point FFT"),
        (LogMel(window_samples=159), "window_samples 159 is less than the hop of 160"),
        (LogMel(bands=40, n_fft=256), "400 samples does not fit n_fft 256"),
        (LogMel(max_hz=9000.0), "mel bands from 0.0 to 9000.0 Hz"),
        (MFCC(bands=64), "128 coefficients of 64 bands, expected 1 to 64"),
    ],
)
def test_sizes_that_do_not_fit_raise(module, message):
    with pytest.raises(ValueError, match=message):
        init = functools.partial(module.init, train=False)
        jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 800)))


def test_summary_counts_the_constant_matrices():
    model = create("aemnet_dw", num_classes=10, frontend="mfcc", width=0.5)
    costs = summarize(model, n_samples=16_000)
    # Half of 400 samples, cosines and sines of 513 bins; 128 bands, 128 coefficients.
    assert costs.macs["frontend/dft"] == 100 * 200 * 2 * 513
    assert costs.macs["frontend/mel"] == 100 * 513 * 128
    assert costs.macs["frontend/dct"] == 100 * 128 * 128
    assert costs.parameters["frontend/bn"] == 2 * 128
    assert costs.parameters["frontend/dft"] == 0
    assert costs.macs["backbone/conv3"] == 100 * 128 * (9 + 16)  # as after the LLF
    totals = costs.to_dict()
    for key in ("parameters", "macs", "bytes"):
        assert sum(row[key] for row in totals["blocks"].values()) == totals[key]
    log_mel = create("aemnet_dw", num_classes=10, frontend="log_mel40", width=0.5)
    costs = summarize(log_mel, n_samples=16_000)
    assert costs.macs["frontend/dft"] == 100 * 200 * 2 * 257
    assert costs.macs["frontend/mel"] == 100 * 257 * 40
    assert "frontend/dct" not in costs.macs
