import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aemjax.train import losses, optimizer
from aemjax.train.param_groups import Group

PARAMS = {
    "frontend": {"conv1": {"kernel": jnp.ones((3,))}},
    "embedding": {"bias": jnp.ones((2,))},
    "head": {"dense": {"kernel": jnp.full((2,), 2.0)}},
}


def embedder_at(fraction):
    embedder = Group(("frontend/.*", "embedding/.*"), fraction)
    return {"embedder": embedder, "head": Group(("head/.*",))}


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
    groups = embedder_at(0.1)
    rate = optimizer.schedule("constant", peak=0.05, total_steps=9)
    tx = optimizer.create("adam", rate, weight_decay=0.3, groups=groups)
    params = train(tx, 5)
    for block, lr in (("frontend", 0.005), ("embedding", 0.005), ("head", 0.05)):
        (before,) = jax.tree.leaves(PARAMS[block])
        (after,) = jax.tree.leaves(params[block])
        expected = classic_adam(np.asarray(before), 0.5, lr=lr, decay=0.3, steps=5)
        np.testing.assert_allclose(after, expected, rtol=1e-5)


def test_a_fraction_of_zero_freezes_also_against_weight_decay():
    groups = embedder_at(0.0)
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


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown schedule 'cosin'.*cosine"):
        optimizer.schedule("cosin", peak=1.0, total_steps=1)
    with pytest.raises(ValueError, match="unknown optimizer 'sgd'.*adam"):
        optimizer.create("sgd", lambda step: 0.1, weight_decay=0.0)
    with pytest.raises(ValueError, match="unknown loss 'focus'.*bce"):
        losses.get("focus", multi_label=False)
    with pytest.raises(ValueError, match="'ce' takes one label"):
        losses.get("ce", multi_label=True)


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


# AdamW, LAMB: decay of kernels alone.

MIXED = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([2.0, -1.0])}


def updates_of(tx, gradients, params=MIXED):
    """Parameters after an update by each of the gradients."""
    state = tx.init(params)
    for gradient in gradients:
        found, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, found)
    return params


def random_gradients(count, params=MIXED):
    rng = np.random.default_rng(0)
    return [
        jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), "float32"), params)
        for _ in range(count)
    ]


def adam_by_hand(name, gradients, *, epsilon, lr, finish):
    """Moments and their bias correction; `finish`(direction, parameter) -> step."""
    x = np.asarray(MIXED[name], np.float64)
    first = second = np.zeros_like(x)
    for t, gradient in enumerate(gradients, start=1):
        g = np.asarray(gradient[name], np.float64)
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        root = np.sqrt(second / (1 - 0.999**t)) + epsilon
        x = x - lr * finish(first / (1 - 0.9**t) / root, x)
    return x


@pytest.mark.parametrize("name", list(MIXED))
def test_adamw_decays_kernels_beside_the_moments(name):
    tx = optimizer.create("adamw", lambda step: 0.05, weight_decay=0.3)
    gradients = random_gradients(4)
    decay = 0.3 if name == "kernel" else 0

    def finish(direction, x):
        return direction + decay * x

    options = {"epsilon": 1e-8, "lr": 0.05, "finish": finish}
    expected = adam_by_hand(name, gradients, **options)
    np.testing.assert_allclose(updates_of(tx, gradients)[name], expected, rtol=1e-5)


@pytest.mark.parametrize("name", list(MIXED))
def test_lamb_steps_by_the_ratio_of_norms(name):
    tx = optimizer.create("lamb", lambda step: 0.05, weight_decay=0.3)
    gradients = random_gradients(4)
    decay = 0.3 if name == "kernel" else 0

    def finish(direction, x):
        direction = direction + decay * x
        return direction * np.linalg.norm(x) / np.linalg.norm(direction)

    options = {"epsilon": 1e-6, "lr": 0.05, "finish": finish}
    expected = adam_by_hand(name, gradients, **options)
    np.testing.assert_allclose(updates_of(tx, gradients)[name], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_every_optimizer_keeps_to_groups(name):
    groups = {"a": Group(("kernel",), 0.1), "b": Group(("bias",), 0.0)}
    kwargs = {"weight_decay": 0.3}
    gradients = random_gradients(3)
    tx = optimizer.create(name, lambda step: 0.5, groups=groups, **kwargs)
    found = updates_of(tx, gradients)
    whole = updates_of(optimizer.create(name, lambda step: 0.05, **kwargs), gradients)
    np.testing.assert_allclose(found["kernel"], whole["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(found["bias"], MIXED["bias"])


# Clipping.


def clipped(gradient, names, norm):
    """Those of these names, at most so long altogether."""
    own = {name: np.asarray(gradient[name], np.float64) for name in names}
    length = np.sqrt(sum((x**2).sum() for x in own.values()))
    return {name: x * min(1, norm / length) for name, x in own.items()}


@pytest.mark.parametrize("frozen", [False, True])
def test_clipping_is_to_the_norm_of_what_trains(frozen):
    groups = {"a": Group(("kernel",)), "b": Group(("bias",), 0.0 if frozen else 1.0)}
    gradients = random_gradients(4)
    gradients[1] = jax.tree.map(lambda x: 0.01 * x, gradients[1])  # short enough
    gradients[2]["bias"] *= 100
    tx = optimizer.create(
        "adam", lambda step: 0.05, weight_decay=0.0, clip_norm=0.7, groups=groups
    )
    found = updates_of(tx, gradients)
    names = ["kernel"] if frozen else ["kernel", "bias"]
    short = [clipped(gradient, names, 0.7) for gradient in gradients]
    for name in names:
        options = {"epsilon": 1e-8, "lr": 0.05, "finish": lambda d, _: d}
        expected = adam_by_hand(name, short, **options)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)
    if frozen:
        np.testing.assert_array_equal(found["bias"], MIXED["bias"])


def test_a_norm_below_zero_is_refused():
    for norm in (-1, float("nan")):
        with pytest.raises(ValueError, match=f"clip_norm is {norm}, expected >= 0"):
            optimizer.create("adam", lambda _: 0.1, weight_decay=0.0, clip_norm=norm)


# Warm-up, and the rates of groups.


def test_warm_up_rises_in_equal_parts_before_the_schedule():
    options = {"peak": 2.0, "total_steps": 100, "warmup_fraction": 0.1}
    cosine = optimizer.schedule("cosine", **options)
    constant = optimizer.schedule("constant", **options)
    for rate in (cosine, constant):
        np.testing.assert_allclose([rate(i) for i in (0, 4, 9)], [0.2, 1, 2], rtol=1e-6)
    np.testing.assert_allclose([cosine(i) for i in (10, 55, 100)], [2, 1, 0], atol=1e-6)
    np.testing.assert_allclose([constant(i) for i in (10, 100)], 2)


def test_warm_up_of_one_step_or_none():
    options = {"peak": 2.0, "total_steps": 100}
    for fraction in (0.0, 0.004, 0.01):
        rate = optimizer.schedule("cosine", **options, warmup_fraction=fraction)
        assert rate(0) == 2 and rate(100) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("fraction", [-0.1, 1, float("nan")])
def test_warm_up_of_more_than_there_is(fraction):
    with pytest.raises(ValueError, match=f"warmup_fraction is {fraction}, expected 0"):
        optimizer.schedule("cosine", peak=1.0, total_steps=9, warmup_fraction=fraction)


def test_rates_by_group():
    groups = embedder_at(0.1)
    rate = optimizer.schedule("cosine", peak=2.0, total_steps=10)
    found = optimizer.learning_rates(rate, groups, 5)
    assert found == pytest.approx({"embedder": 0.1, "head": 1.0})
