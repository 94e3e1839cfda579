"""The augmentations one after the other."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from aemjax.audio import augment
from aemjax.audio.augment import Augment, mixup, random_gain, random_noise
from aemjax.random import stream_key
from tests.aemjax.audio.clips import differ

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
        (
            {"time_masks": 2},
            "time_masks is 2, but time_mask_frames is 0: nothing would",
        ),
        ({"channel_masks": 1}, "channel_masks is 1, but channel_mask_channels is 0: n"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augment(**options)
