import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.train import losses

ICBHI = {"gamma": 0.5, "alpha": (0.4272, 0.7636, 0.8609, 0.9483)}


def reference(logits, labels, gamma, alpha):
    """The focal loss in float64, by its definition."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -(labels * alpha * (1 - p) ** gamma * np.log(p)).sum(axis=1)


@pytest.fixture
def batch():
    """(logits, labels mixed of two classes)."""
    rng = np.random.default_rng(0)
    share = rng.random((6, 1))
    labels = share * np.eye(4)[rng.integers(0, 4, 6)]
    labels += (1 - share) * np.eye(4)[rng.integers(0, 4, 6)]
    return rng.normal(scale=3, size=(6, 4)), labels


def as_jax(arrays):
    return [jnp.asarray(x, jnp.float32) for x in arrays]


def test_focal_of_a_hand_computed_case():
    logits = jnp.log(jnp.array([[0.25, 0.75]]))
    options = {"gamma": 2, "alpha": (0.5, 2)}
    first = 0.5 * 0.75**2 * np.log(4)
    second = 2 * 0.25**2 * np.log(4 / 3)
    hard = losses.focal(logits, jnp.array([[1.0, 0.0]]), **options)
    assert hard[0] == pytest.approx(first, rel=1e-6)
    mixed = losses.focal(logits, jnp.array([[0.3, 0.7]]), **options)
    assert mixed[0] == pytest.approx(0.3 * first + 0.7 * second, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_against_numpy_eager_and_jitted(batch, gamma):
    loss = losses.get("focal", multi_label=False, **ICBHI | {"gamma": gamma})
    expected = reference(*batch, gamma, ICBHI["alpha"])
    for function in (loss, jax.jit(loss)):
        np.testing.assert_allclose(function(*as_jax(batch)), expected, rtol=1e-5)


def test_focal_without_focus_or_weights_is_cross_entropy(batch):
    found = losses.focal(*as_jax(batch), gamma=0, alpha=(1, 1, 1, 1))
    np.testing.assert_allclose(
        found, losses.cross_entropy(*as_jax(batch)), rtol=1e-6, atol=1e-6
    )


def test_focal_is_float32_of_bfloat16_logits(batch):
    logits, labels = as_jax(batch)
    found = losses.focal(logits.astype(jnp.bfloat16), labels, **ICBHI)
    assert found.dtype == jnp.float32


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("true_class", [0, 1])
def test_focal_of_certain_scores(gamma, true_class):
    """p rounds to exactly 1 of one class and underflows to 0 of the other."""
    logits, labels = jnp.array([[100.0, -100.0]]), jnp.eye(2)[true_class][None]

    def loss(logits):
        return losses.focal(logits, labels, gamma=gamma, alpha=(0.5, 0.25)).sum()

    value, gradient = jax.value_and_grad(loss)(logits)
    # Right: no loss and no slope. Wrong: alpha times the gap of the logits.
    assert value == pytest.approx([0, 0.25 * 200][true_class], abs=1e-6)
    slope = [0, 0.25][true_class]
    np.testing.assert_allclose(gradient, [[slope, -slope]], atol=1e-6)


def test_focal_gradient_against_finite_differences(batch):
    logits, labels = batch
    found = jax.grad(lambda z: losses.focal(z, as_jax(batch)[1], **ICBHI).sum())(
        jnp.asarray(logits, jnp.float32)
    )
    step, expected = 1e-5, np.zeros_like(logits)
    for i in np.ndindex(logits.shape):
        shift = np.zeros_like(logits)
        shift[i] = step
        ends = (
            reference(logits + s * shift, labels, ICBHI["gamma"], ICBHI["alpha"])
            for s in (1, -1)
        )
        expected[i] = np.subtract(*ends).sum() / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": (1, 1, 1)}, "alpha has 3 numbers, the model 4 classes; give one"),
        ({"alpha": (1, 1, 1, 0)}, "alpha is (1, 1, 1, 0), expected numbers above 0"),
        ({"gamma": -0.5}, "gamma is -0.5, expected 0 or more"),
        ({"gamma": float("nan")}, "gamma is nan, expected 0 or more"),
    ],
)
def test_bad_options_of_focal(batch, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        losses.focal(*as_jax(batch), **ICBHI | changes)


@pytest.mark.parametrize(
    ("clips", "alpha"),
    [
        # Published (Galindo-Meza 2021, Tables 7 and 10), of as many validation clips.
        ((1585, 654, 385, 143), (0.4272, 0.7636, 0.8609, 0.9483)),
        ((282, 596), (0.68, 0.32)),
        ((54, 32), (0.37, 0.63)),
        ((54, 20), (0.27, 0.73)),
    ],
)
def test_alpha_from_shares_is_as_published(clips, alpha):
    labels = np.repeat(np.eye(len(clips), dtype=np.float32), clips, axis=0)
    digits = 4 if len(clips) == 4 else 2
    found = losses.alpha_from_shares(labels)
    assert tuple(round(x, digits) for x in found) == alpha


def test_a_loss_of_ones_own_is_imported(batch):
    loss = losses.get("optax:softmax_cross_entropy", multi_label=False, axis=-1)
    found = loss(*as_jax(batch))
    np.testing.assert_allclose(
        found, losses.cross_entropy(*as_jax(batch)), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("focus", {}, "unknown loss 'focus'; known: ['bce', 'ce', 'focal'], or 'pack"),
        ("ce", {"gamma": 1.0}, "loss 'ce': got an unexpected keyword argument 'gamma'"),
        ("bce", {"alpha": 1}, "its options are [], given were ['alpha']"),
        ("focal", {"gamma": 1.0}, "loss 'focal': missing a required"),
        ("focal", {}, "its options are ['gamma', 'alpha'], given were []"),
        ("optax:nope", {}, "cannot import loss 'optax:nope': module 'optax' has no"),
        ("no_such:loss", {}, "cannot import loss 'no_such:loss': No module named"),
        (":loss", {}, "cannot import loss ':loss': Empty module name"),
        ("math:pi", {}, "loss 'math:pi' is 3.14159"),
    ],
)
def test_what_is_no_loss_or_has_other_options(name, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        losses.get(name, multi_label=False, **options)


@pytest.mark.parametrize("name", ["ce", "focal"])
def test_losses_of_one_label_refuse_several(name):
    with pytest.raises(
        ValueError, match=f"loss '{name}' takes one label per clip, .* use 'bce'"
    ):
        losses.get(name, multi_label=True)


# Label smoothing.


def smoothed_by_hand(name, logits, labels, amount):
    if name == "focal":
        labels = (1 - amount) * labels + amount / 4
        return reference(logits, labels, ICBHI["gamma"], ICBHI["alpha"])
    if name == "ce":
        labels = (1 - amount) * labels + amount / 4
        return reference(logits, labels, 0, 1)
    labels = (1 - amount) * labels + amount / 2
    p = 1 / (1 + np.exp(-logits))
    return -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(axis=1)


@pytest.mark.parametrize("name", ["bce", "ce", "focal"])
@pytest.mark.parametrize("amount", [0.0, 0.2])
def test_label_smoothing_by_hand(batch, name, amount):
    options = ICBHI if name == "focal" else {}
    loss = losses.get(
        name, multi_label=name == "bce", label_smoothing=amount, **options
    )
    expected = smoothed_by_hand(name, *batch, amount)
    np.testing.assert_allclose(loss(*as_jax(batch)), expected, rtol=1e-5)


def test_one_label_of_several_is_smoothed_over_all_whatever_the_loss(batch):
    loss = losses.get("bce", multi_label=False, label_smoothing=0.2)
    logits, labels = as_jax(batch)
    expected = losses.binary_cross_entropy(logits, 0.8 * labels + 0.05)
    np.testing.assert_allclose(loss(logits, labels), expected, rtol=1e-6)


@pytest.mark.parametrize("amount", [-0.1, 1, float("nan")])
def test_smoothing_of_more_than_there_is(amount):
    with pytest.raises(ValueError, match=f"label_smoothing is {amount}, expected 0 <="):
        losses.get("bce", multi_label=True, label_smoothing=amount)
