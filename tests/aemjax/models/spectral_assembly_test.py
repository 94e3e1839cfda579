"""Spectral front ends as parts of a network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.models import create, summarize
from aemjax.models.spectral import MFCC, LogMel
from aemjax.train import param_groups
from tests.aemjax.models.spectra import (
    CHANNELS,
    PRESETS,
    TINY_BACKBONE,
    noise,
    quick_jit,
)


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
