"""Pairs of clips and of their labels, mixed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from aemjax.audio import augment
from aemjax.audio.augment import mixup
from tests.aemjax.audio.clips import CLASSES, ROWS

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
