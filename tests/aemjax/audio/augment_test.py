import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
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
    share = np.asarray(augment.random_share(key, ROWS, alpha=0.4))[:, None]
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


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0])
def test_shares_follow_the_beta_distribution(alpha):
    draws = augment.random_share(jax.random.key(2), 10_000, alpha=alpha)
    places = np.linspace(0.001, 0.999, 50)  # beyond, float32 rounds to 0 or 1
    found = (np.asarray(draws)[:, None] <= places).mean(axis=0)
    expected = scipy.stats.beta(alpha, alpha).cdf(places)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert draws.min() >= 0 and draws.max() <= 1


@pytest.mark.parametrize("alpha", [-0.1, 0.0, 1.1, float("nan")])
def test_another_alpha_is_refused(batch, alpha):
    with pytest.raises(ValueError, match=f"mixup_alpha is {alpha}, expected above 0"):
        mixup(jax.random.key(0), *batch, alpha=alpha)


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


# Roll, polarity, masks: off in the published chain.


def test_roll_turns_each_clip_by_its_own_amount(batch):
    audio, _ = batch
    got = np.asarray(augment.random_roll(jax.random.key(3), audio, max_samples=100))
    shifts = []
    for row, original in zip(got, np.asarray(audio), strict=True):
        fits = [s for s in range(-100, 101) if (np.roll(original, s) == row).all()]
        assert len(fits) == 1
        shifts += fits
    assert len(set(shifts)) > ROWS // 2


def test_roll_is_uniform_and_reaches_both_bounds():
    audio = jnp.tile(jnp.arange(50.0), (3_000, 1))
    got = augment.random_roll(jax.random.key(0), audio, max_samples=4)
    shift = -np.asarray(got[:, 0]).astype(int)  # what stands first, came from there
    shift = (shift + 25) % 50 - 25
    counts = np.bincount(shift + 4, minlength=9)
    assert len(counts) == 9
    np.testing.assert_allclose(counts / 3_000, 1 / 9, atol=0.03)


def test_polarity_turns_a_share_upside_down():
    audio = jnp.asarray(np.random.default_rng(0).normal(size=(2_000, 6)), "float32")
    got = augment.random_polarity(jax.random.key(0), audio, probability=0.3)
    turned = np.asarray(got[:, 0] != audio[:, 0])
    expected = np.where(turned[:, None], -audio, audio)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(turned.mean(), 0.3, atol=0.04)


SIZES = ("time_masks", "max_frames", "channel_masks", "max_channels")
mask = jax.jit(augment.mask_features, static_argnames=SIZES)


def stretches(masked):
    """bool "n size" -> (starts, lengths) of rows that have one stretch each."""
    assert (np.abs(np.diff(masked.astype(int), axis=1, prepend=0)).sum(1) <= 2).all()
    return masked.argmax(axis=1), masked.sum(axis=1)


@pytest.mark.parametrize("kind", ["time", "channel"])
def test_one_mask_has_every_width_and_place(kind):
    masks = {"time_masks": 0, "max_frames": 4, "channel_masks": 0, "max_channels": 4}
    masks[f"{kind}_masks"] = 1
    x = jnp.ones((4_000, 10, 12))
    got = np.asarray(mask(jax.random.key(0), x, **masks))
    assert set(np.unique(got)) == {0, 1}
    other = 2 if kind == "time" else 1
    np.testing.assert_array_equal(got.min(axis=other), got.max(axis=other))
    masked = got.min(axis=other) == 0
    start, width = stretches(masked)
    np.testing.assert_allclose(np.bincount(width) / 4_000, 1 / 5, atol=0.03)
    for size in range(1, 5):
        places = np.bincount(start[width == size]) / (width == size).sum()
        assert len(places) == masked.shape[1] - size + 1
        np.testing.assert_allclose(places, 1 / len(places), atol=0.06)


def test_several_masks_of_both_kinds_each_row_its_own():
    x = jnp.ones((1_000, 60, 70))
    got = mask(
        jax.random.key(1),
        x,
        time_masks=2,
        max_frames=3,
        channel_masks=3,
        max_channels=5,
    )
    gone = np.asarray(got) == 0
    frames, channels = gone.all(axis=2), gone.all(axis=1)
    np.testing.assert_array_equal(gone, frames[:, :, None] | channels[:, None])
    # Means of 2 x 0..3 and 3 x 0..5, less what overlaps.
    assert 2.7 < frames.sum(axis=1).mean() <= 3.05 and frames.sum(axis=1).max() == 6
    assert 6.9 < channels.sum(axis=1).mean() < 7.6
    assert 13 <= channels.sum(axis=1).max() <= 15
    assert len(np.unique(np.packbits(frames, axis=1), axis=0)) > 500


def test_masks_of_time_and_of_channels_have_nothing_to_do_with_each_other():
    x = jnp.ones((2_000, 10, 12))
    got = mask(
        jax.random.key(0),
        x,
        time_masks=1,
        max_frames=4,
        channel_masks=1,
        max_channels=4,
    )
    gone = np.asarray(got) == 0
    widths = gone.all(axis=2).sum(axis=1), gone.all(axis=1).sum(axis=1)
    assert abs(np.corrcoef(*widths)[0, 1]) < 0.1


def test_a_mask_is_no_wider_than_what_it_masks():
    x = jnp.ones((500, 3, 4))
    masks = {"time_masks": 1, "max_frames": 9, "channel_masks": 0, "max_channels": 0}
    got = np.asarray(mask(jax.random.key(0), x, **masks))
    width = (got == 0).all(axis=2).sum(axis=1)
    np.testing.assert_allclose(np.bincount(width) / 500, 1 / 4, atol=0.08)


def test_no_gradient_flows_where_a_mask_lies():
    chain = Augment(
        time_masks=1, time_mask_frames=5, channel_masks=1, channel_mask_channels=3
    )
    alter = chain.masks(jax.random.key(0))
    x = 1 + jnp.arange(4 * 10 * 8.0).reshape(4, 10, 8)
    slope = jax.grad(lambda x: alter(x).sum())(x)
    kept = np.asarray(alter(x)) != 0
    assert 0 < kept.mean() < 1
    np.testing.assert_array_equal(slope, kept)


def test_without_masks_there_is_nothing_to_do():
    off = Augment(time_mask_frames=5, channel_mask_channels=5)
    assert off.masks(jax.random.key(0)) is None


# Mixup of several targets.


def test_mixup_mixes_every_target_by_the_share_of_its_clip(batch):
    audio, labels = batch
    rng = np.random.default_rng(1)
    targets = {
        "labels": labels,
        "teacher": jnp.asarray(rng.random((ROWS, CLASSES)), "float32"),
        "taught": jnp.asarray(rng.random(ROWS) < 0.5, "float32"),
    }
    key = jax.random.key(5)
    _, got = mixup(key, audio, targets, alpha=0.4)
    share = np.asarray(augment.random_share(key, ROWS, alpha=0.4))
    for name, x in targets.items():
        x = np.asarray(x)
        own = share if x.ndim == 1 else share[:, None]
        np.testing.assert_allclose(
            got[name], own * x + (1 - own) * x[np.arange(ROWS) ^ 1], rtol=1e-6
        )
    np.testing.assert_array_equal(
        mixup(key, audio, labels, alpha=0.4)[1], got["labels"]
    )


# The chain with all its parts.

PARTS = {
    "roll": {"max_roll_s": 0.01},
    "polarity": {"polarity_probability": 0.5},
    "gain": {"gain_db": 6.0},
    "noise": {"noise_probability": 0.5},
    "mixup": {"mixup_alpha": 0.4},
}
OFF = {"gain_db": 0.0, "noise_probability": 0.0, "mixup_alpha": 0.0}


def alone(part, batch, step=STEP):
    chain = Augment(**OFF | PARTS[part])
    return chain(*batch, seed=SEED, step=jnp.int32(step))


def test_the_chain_is_its_parts_one_after_the_other(batch):
    """Each of them draws as it does alone."""
    whole = Augment(**{k: v for part in PARTS.values() for k, v in part.items()})
    got = whole(*batch, seed=SEED, step=jnp.int32(STEP))
    expected = batch
    for part in PARTS:
        expected = alone(part, expected)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    for part in PARTS:
        now, later = (alone(part, batch, step)[0] for step in (STEP, STEP + 1))
        assert differ(now, batch[0]) and differ(now, later)


def test_roll_is_in_seconds_and_draws_from_its_stream(batch):
    key = stream_key(SEED, "roll", STEP)
    expected = augment.random_roll(key, batch[0], max_samples=160)
    np.testing.assert_array_equal(alone("roll", batch)[0], expected)


def test_polarity_draws_from_its_stream(batch):
    key = stream_key(SEED, "polarity", STEP)
    expected = augment.random_polarity(key, batch[0], probability=0.5)
    np.testing.assert_array_equal(alone("polarity", batch)[0], expected)


def test_roll_and_polarity_move_no_audio_between_devices(batch):
    chain = Augment(**OFF | PARTS["roll"] | PARTS["polarity"])
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    on_mesh = tuple(jax.device_put(x, split) for x in batch)
    step = jax.device_put(jnp.int32(STEP), NamedSharding(mesh, PartitionSpec()))
    compiled = jax.jit(functools.partial(chain, seed=SEED)).lower(*on_mesh, step=step)
    compiled = compiled.compile()
    for collective in ("all-gather", "all-to-all", "collective-permute", "all-reduce"):
        assert collective not in compiled.as_text()
    expected = chain(*batch, seed=SEED, step=jnp.int32(STEP))
    jax.tree.map(np.testing.assert_array_equal, compiled(*on_mesh, step=step), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_roll_s": -0.1}, "max_roll_s is -0.1, expected 0 or more"),
        ({"time_masks": -1}, "time_masks is -1, expected 0 or more"),
        ({"gain_db": float("nan")}, "gain_db is nan, expected 0 or more"),
        (
            {"polarity_probability": 1.1},
            "polarity_probability is 1.1, expected at most",
        ),
        ({"min_snr_db": 50.0}, "min_snr_db is 50.0, expected at most max_snr_db, 40.0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augment(**options)
