"""The features themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.aemjax.models.spectra import (
    CHANNELS,
    LIBROSA,
    PRESETS,
    FrontEnd,
    chirp,
    front_end,
    noise,
)


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
