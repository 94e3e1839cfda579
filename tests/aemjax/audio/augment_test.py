import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from aemjax.audio import augment, read
from aemjax.audio.augment import Augment, mixup, random_gain, random_noise
from aemjax.random import stream_key

ROWS, SAMPLES, CLASSES = 16, 800, 5


@pytest.fixture(scope="module")
def batch():
    """Standardised clips, and labels of one class each."""
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(ROWS, SAMPLES)).astype(np.float32)
    audio = np.stack([read.standardize(row) for row in audio])
    labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, ROWS)]
    return jnp.asarray(audio), jnp.asarray(labels)


def differ(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-3


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


# Mixup.


def test_mixup_equals_numpy(batch):
    audio, labels = batch
    key = jax.random.key(5)
    got_audio, got_labels = mixup(key, audio, labels, alpha=0.4)
    share = np.asarray(jax.random.beta(key, 0.4, 0.4, (ROWS, 1)))
    assert share.std() > 0.1 and len(np.unique(share)) == ROWS
    partner = np.arange(ROWS) ^ 1  # 0 with 1, 2 with 3, ...
    for got, x in ((got_audio, audio), (got_labels, labels)):
        x = np.asarray(x)
        expected = share * x + (1 - share) * x[partner]
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == jnp.float32


def test_mixup_stays_in_its_pair_with_one_share():
    # One-hot audio and labels: what a row holds says where it came from.
    rows = jnp.eye(ROWS)
    audio, labels = mixup(jax.random.key(0), rows, rows, alpha=0.4)
    np.testing.assert_array_equal(audio, labels)
    pairs = np.kron(np.eye(ROWS // 2), np.ones((2, 2)))
    np.testing.assert_array_equal(np.asarray(audio) > 0, pairs > 0)
    np.testing.assert_allclose(audio.sum(1), 1, rtol=1e-6)


def test_mixup_draws_from_beta():
    ones = jnp.tile(jnp.array([[1.0], [0.0]]), (ROWS // 2, 1))
    keys = jax.random.split(jax.random.key(0), 60)
    audio = np.stack([mixup(key, ones, ones, alpha=0.1)[0] for key in keys])
    share = np.where(ones == 1, audio, 1 - audio)
    np.testing.assert_allclose(share.mean(), 0.5, atol=0.05)
    np.testing.assert_allclose(share.var(), 1 / 4.8, atol=0.02)  # 1 / (4 (2a + 1))


@pytest.mark.parametrize("active", [False, jnp.array(False)], ids=["bool", "array"])
def test_inactive_mixup_changes_no_bit(batch, active):
    got = mixup(jax.random.key(0), *batch, alpha=0.1, active=active)
    jax.tree.map(np.testing.assert_array_equal, got, batch)


@pytest.mark.parametrize("rows", [1, 7])
def test_mixup_of_an_odd_batch_raises(batch, rows):
    audio, labels = batch
    with pytest.raises(ValueError, match=f"mixup pairs rows; a batch of {rows} is odd"):
        mixup(jax.random.key(0), audio[:rows], labels[:rows], alpha=0.1)


# The chain.

CHAIN = Augment(mixup_alpha=0.4, mixup_start_step=10)
SEED, STEP = 1, 11


@pytest.fixture(scope="module")
def compiled():
    """The chain with its seed, compiled in haste."""
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(functools.partial(CHAIN, seed=SEED), compiler_options=options)


def test_chain_is_a_function_of_seed_and_step(batch):
    results = [
        CHAIN(*batch, seed=seed, step=jnp.int32(step))
        for seed in (SEED, SEED + 1)
        for step in (STEP, STEP + 1)
    ]
    for one, other in itertools.combinations(results, 2):
        assert differ(one[0], other[0]) and differ(one[1], other[1])
    again = CHAIN(*batch, seed=SEED, step=jnp.int32(STEP))
    jax.tree.map(np.testing.assert_array_equal, again, results[0])


def test_chain_is_gain_then_noise_then_mixup(batch, compiled):
    audio, labels = batch
    audio = random_gain(stream_key(SEED, "gain", STEP), audio, max_db=6.0)
    audio = random_noise(
        stream_key(SEED, "noise", STEP),
        audio,
        min_snr_db=10.0,
        max_snr_db=40.0,
        probability=0.5,
    )
    key = stream_key(SEED, "mixup", STEP)
    expected = mixup(key, audio, labels, alpha=0.4)
    got = CHAIN(*batch, seed=SEED, step=jnp.int32(STEP))
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(close, compiled(*batch, step=jnp.int32(STEP)), expected)


def test_chain_mixes_from_its_start_step(batch, compiled):
    audio, labels = batch
    only = Augment(
        gain_db=0.0, noise_probability=0.0, mixup_alpha=0.4, mixup_start_step=10
    )
    for step in (0, 9):
        got = only(*batch, seed=SEED, step=jnp.int32(step))
        jax.tree.map(np.testing.assert_array_equal, got, batch)
        np.testing.assert_array_equal(compiled(*batch, step=jnp.int32(step))[1], labels)
    for step in (10, 11):
        got_audio, got_labels = only(*batch, seed=SEED, step=jnp.int32(step))
        assert differ(got_audio, audio) and differ(got_labels, labels)
        assert differ(compiled(*batch, step=jnp.int32(step))[1], labels)


def test_chain_switched_off_changes_nothing(batch):
    off = Augment(gain_db=0.0, noise_probability=0.0, mixup_alpha=0.0)
    odd = tuple(x[:3] for x in batch)  # without mixup any number of rows will do
    for given in (batch, odd):
        got = off(*given, seed=SEED, step=jnp.int32(STEP))
        jax.tree.map(np.testing.assert_array_equal, got, given)


def test_chain_is_the_same_over_eight_devices(batch, compiled):
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    assert mesh.size == 8
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    on_mesh = tuple(jax.device_put(x, split) for x in batch)
    step = jax.device_put(jnp.int32(STEP), whole)
    sharded = compiled.lower(*on_mesh, step=step).compile()
    for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert collective not in sharded.as_text()  # no audio crosses devices
    got = sharded(*on_mesh, step=step)
    expected = compiled(*batch, step=jnp.int32(STEP))
    for one, other in zip(got, expected, strict=True):
        assert one.sharding.is_equivalent_to(split, one.ndim)
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
