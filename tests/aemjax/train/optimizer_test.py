import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aemjax.train import losses, optimizer
from aemjax.train.optimizer import Group

PARAMS = {
    "frontend": {"conv1": {"kernel": jnp.ones((3,))}},
    "embedding": {"bias": jnp.ones((2,))},
    "head": {"dense": {"kernel": jnp.full((2,), 2.0)}},
}
GRADS = jax.tree.map(lambda x: 0.5 * jnp.ones_like(x), PARAMS)


def classic_adam(params, grad, *, lr, decay, steps):
    """Adam with the L2 term added to the gradient (Kingma & Ba, 2015), in NumPy."""
    first = second = np.zeros_like(params)
    for t in range(1, steps + 1):
        g = grad + decay * params
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        step = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        params = params - lr * step
    return params


def train(tx, steps):
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(steps):
        updates, state = tx.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_each_group_is_classic_adam_at_its_own_rate():
    groups = optimizer.embedder_groups(sorted(PARAMS), 0.1)
    rate = optimizer.schedule("constant", peak=0.05, total_steps=9)
    tx = optimizer.create("adam", rate, weight_decay=0.3, groups=groups)
    params = train(tx, 5)
    for block, lr in (("frontend", 0.005), ("embedding", 0.005), ("head", 0.05)):
        (before,) = jax.tree.leaves(PARAMS[block])
        (after,) = jax.tree.leaves(params[block])
        expected = classic_adam(np.asarray(before), 0.5, lr=lr, decay=0.3, steps=5)
        np.testing.assert_allclose(after, expected, rtol=1e-5)


def test_a_fraction_of_zero_freezes_also_against_weight_decay():
    groups = optimizer.embedder_groups(sorted(PARAMS), 0.0)
    rate = optimizer.schedule("cosine", peak=0.05, total_steps=9)
    tx = optimizer.create("adam", rate, weight_decay=0.3, groups=groups)
    params = train(tx, 3)
    jax.tree.map(np.testing.assert_array_equal, params["frontend"], PARAMS["frontend"])
    assert not np.array_equal(
        params["head"]["dense"]["kernel"], PARAMS["head"]["dense"]["kernel"]
    )


def test_cosine_goes_to_zero():
    rate = optimizer.schedule("cosine", peak=2.0, total_steps=10)
    np.testing.assert_allclose([rate(0), rate(5), rate(10)], [2, 1, 0], atol=1e-6)


def test_every_parameter_needs_a_group_and_every_pattern_a_parameter():
    with pytest.raises(ValueError, match="no group matches 'embedding/bias'"):
        optimizer.group_labels(PARAMS, {"head": Group(("head/.*",))})
    with pytest.raises(ValueError, match=r"\['tail/.\*'\] match no parameter"):
        optimizer.group_labels(
            PARAMS, {"all": Group((".*",)), "b": Group(("tail/.*",))}
        )


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown schedule 'cosin'.*cosine"):
        optimizer.schedule("cosin", peak=1.0, total_steps=1)
    with pytest.raises(ValueError, match="unknown optimizer 'sgd'.*adam"):
        optimizer.create("sgd", lambda step: 0.1, weight_decay=0.0)
    with pytest.raises(ValueError, match="unknown loss 'focus'.*bce"):
        losses.get("focus", multi_label=False)
    with pytest.raises(ValueError, match="'ce' takes one label"):
        losses.get("ce", multi_label=True)
    with pytest.raises(ValueError, match="lr_fraction of 'embedder' is -1"):
        groups = optimizer.embedder_groups(sorted(PARAMS), -1.0)
        optimizer.create("adam", lambda step: 0.1, weight_decay=0.0, groups=groups)


def test_losses_against_numpy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 5)).astype(np.float32)
    labels = rng.random((4, 5)).astype(np.float32)
    p = 1 / (1 + np.exp(-logits))
    bce = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(axis=1)
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    ce = -(labels * log_softmax).sum(axis=1)
    found = losses.binary_cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(found, bce, rtol=1e-5)
    found = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(found, ce, rtol=1e-5)
