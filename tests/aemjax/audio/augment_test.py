"""Standardising, gain, noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.audio import augment, read
from aemjax.audio.augment import random_gain, random_noise
from tests.aemjax.audio.clips import ROWS, SAMPLES

# Standardising.


def pcm_batch(clips):
    pcm = np.stack([read.to_int16(clip) for clip in clips])
    stats = [read.statistics(read.from_int16(row)) for row in pcm]
    mean, std = np.float32(stats).T
    return pcm, jnp.asarray(pcm), jnp.asarray(mean), jnp.asarray(std)


def test_standardize_equals_that_of_whole_clips():
    rng = np.random.default_rng(0)
    clips = [
        0.1 * rng.normal(size=SAMPLES),
        0.5 + 0.01 * rng.normal(size=SAMPLES),  # an offset
        1e-3 * rng.normal(size=SAMPLES),
        np.sign(rng.normal(size=SAMPLES)),  # full scale
    ]
    pcm, *args = pcm_batch(clips)
    assert args[0].dtype == jnp.int16
    got = augment.standardize(*args)
    assert got.dtype == jnp.float32
    for row, expected in zip(got, map(read.from_int16, pcm), strict=True):
        np.testing.assert_allclose(row, read.standardize(expected), atol=2e-5)


def test_standardize_uses_the_statistics_of_the_whole_clip():
    rng = np.random.default_rng(0)
    clip = 0.1 * rng.normal(size=SAMPLES) * np.linspace(0, 2, SAMPLES)
    pcm, whole, mean, std = pcm_batch([clip])
    crop = augment.standardize(whole[:, 100:200], mean, std)
    expected = read.standardize(read.from_int16(pcm[0]))[None, 100:200]
    np.testing.assert_allclose(crop, expected, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_standardize_of_silence_is_zeros(level):
    _, *args = pcm_batch([np.full(SAMPLES, level)])
    np.testing.assert_array_equal(augment.standardize(*args), 0)


# Gain.


def test_gain_is_constant_per_clip_and_uniform_in_decibels():
    audio = jnp.ones((2_000, 4))
    got = np.asarray(random_gain(jax.random.key(0), audio, max_db=6.0))
    np.testing.assert_array_equal(got, np.repeat(got[:, :1], 4, axis=1))
    db = 20 * np.log10(got[:, 0])
    assert -6 <= db.min() < -5.9 and 5.9 < db.max() <= 6
    counts, _ = np.histogram(db, bins=6, range=(-6, 6))
    np.testing.assert_allclose(counts / len(db), 1 / 6, atol=0.03)


def test_gain_scales_and_nothing_else(batch):
    audio, _ = batch
    got = np.asarray(random_gain(jax.random.key(0), audio, max_db=3.0))
    gains = (got * audio).sum(1) / (audio**2).sum(1)
    np.testing.assert_allclose(got, gains[:, None] * audio, rtol=1e-5, atol=1e-6)
    assert len(np.unique(gains)) == ROWS


# Noise.


def test_noise_has_the_asked_ratio(batch):
    levels = jnp.linspace(0.1, 3, ROWS)[:, None]  # the ratio is to each clip's level
    audio = batch[0] * levels
    for snr_db in (0.0, 20.0):
        got = random_noise(
            jax.random.key(1),
            audio,
            min_snr_db=snr_db,
            max_snr_db=snr_db,
            probability=1.0,
        )
        noise = np.asarray(got - audio)
        measured = 10 * np.log10((audio**2).mean(1) / (noise**2).mean(1))
        # The power of 800 draws varies by 5 %, 0.22 dB.
        np.testing.assert_allclose(measured, snr_db, atol=1.0)
        assert abs(measured.mean() - snr_db) < 0.3
        assert np.abs(np.corrcoef(noise) - np.eye(ROWS)).max() < 0.2


def test_noise_is_white():
    audio = jnp.ones((2, 1 << 14))
    kwargs = dict(min_snr_db=10.0, max_snr_db=10.0, probability=1.0)
    noise = random_noise(jax.random.key(1), audio, **kwargs) - audio
    power = (np.abs(np.fft.rfft(noise)[:, 1:]) ** 2).reshape(2, 8, -1)  # 8 bands
    np.testing.assert_allclose(power.mean((0, 2)) / power.mean(), 1, atol=0.1)


def test_noise_ratio_range_and_share():
    audio = jnp.asarray(np.random.default_rng(0).normal(size=(1_000, 200)), "float32")
    kwargs = dict(min_snr_db=10.0, max_snr_db=40.0, probability=0.3)
    got = random_noise(jax.random.key(2), audio, **kwargs)
    noise = np.asarray(got - audio)
    chosen = noise.any(axis=1)
    np.testing.assert_allclose(chosen.mean(), 0.3, atol=0.05)
    np.testing.assert_array_equal(got[~chosen], audio[~chosen])
    signal = (np.asarray(audio)[chosen] ** 2).mean(1)
    db = 10 * np.log10(signal / (noise[chosen] ** 2).mean(1))
    assert 9 < db.min() < 12 and 38 < db.max() < 41
    counts, _ = np.histogram(db, bins=3, range=(10, 40))
    np.testing.assert_allclose(counts / len(db), 1 / 3, atol=0.09)


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0), (1.0, 1)])
def test_noise_of_none_or_all(batch, probability, share):
    audio, _ = batch
    kwargs = dict(min_snr_db=10.0, max_snr_db=40.0, probability=probability)
    got = random_noise(jax.random.key(0), audio, **kwargs)
    assert (got != audio).any(axis=1).mean() == share


def test_noise_on_silence_is_silence():
    audio = jnp.zeros((2, SAMPLES))
    kwargs = dict(min_snr_db=10.0, max_snr_db=40.0, probability=1.0)
    assert not random_noise(jax.random.key(0), audio, **kwargs).any()
