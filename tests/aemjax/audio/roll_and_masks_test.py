"""Augmentations that the published chain lacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.audio import augment
from aemjax.audio.augment import Augment
from tests.aemjax.audio.clips import ROWS


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
