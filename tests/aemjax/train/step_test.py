"""One update: one device against eight, and what its options change."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aemjax import models
from aemjax.audio.augment import Augment
from aemjax.train import losses, optimizer, sharding
from aemjax.train.state import jit_initial_state
from aemjax.train.step import jit_train_step, split_rows
from tests.aemjax.train import steps
from tests.aemjax.train.steps import CLASSES

WIDTH, DECAY = 0.125, 0.9
BATCH, MANY = steps.a_batch(), steps.a_batch(32)


def train(devices, *, count, model="tests.tiny:Backbone", dtype="float32", traces=None):
    """State and loss of each step after training from the same start."""
    mesh = sharding.data_mesh(jax.devices()[:devices])
    replicated, split = sharding.shardings(mesh)
    model = models.create(model, num_classes=CLASSES, width=WIDTH, dtype=dtype)
    rate = optimizer.schedule("cosine", peak=1e-3, total_steps=10)
    tx = optimizer.create("adam", rate, weight_decay=1e-4)
    state = jit_initial_state(mesh, model=model, tx=tx, ema=True)(0)
    if dtype == "float64":
        state = jax.tree.map(
            lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, state
        )
        state = jax.device_put(state, replicated)

    def loss_fn(logits, labels):
        if traces is not None:
            traces.append(logits.shape)
        return losses.binary_cross_entropy(logits, labels)

    step = jit_train_step(
        mesh,
        phases=[(0, model)],
        tx=tx,
        augment=Augment(mixup_start_step=1),
        loss_fn=loss_fn,
        seed=0,
        ema_decay=DECAY,
    )
    states, found = [jax.device_get(state)], []
    for seed in range(count):
        batch = steps.a_batch(seed=seed)
        state, scalars = step(state, sharding.global_batch(batch, split))
        states.append(jax.device_get(state))
        found.append(float(scalars["loss"]))
    return states, found


@pytest.fixture(scope="module")
def one():
    return train(1, count=3)


def test_eight_devices_train_as_one_does(one):
    traces = []
    states, found = train(8, count=3, traces=traces)
    assert len(traces) == 1  # a second step of the same shape does not retrace
    np.testing.assert_allclose(found[0], one[1][0], rtol=1e-5)
    # Adam turns the sign of a gradient that is all but zero into a whole step, so later
    # losses follow the order of summation; float64 below holds them.
    np.testing.assert_allclose(found, one[1], rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tests.tiny:Backbone", "aemnet_dw"])
def test_eight_devices_equal_one_in_float64(model):
    with jax.enable_x64(True):
        (*_, a), first = train(1, count=3, model=model, dtype="float64")
        (*_, b), second = train(8, count=3, model=model, dtype="float64")
    np.testing.assert_allclose(first, second, rtol=1e-8)
    for x, y in zip(
        jax.tree.leaves((a.params, a.batch_stats)),
        jax.tree.leaves((b.params, b.batch_stats)),
        strict=True,
    ):
        np.testing.assert_allclose(x, y, atol=1e-8)


def test_ema_follows_the_parameters(one):
    states, _ = one
    average = states[0].params
    for state in states[1:]:
        average = jax.tree.map(
            lambda old, new: DECAY * old + (1 - DECAY) * new, average, state.params
        )
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6),
        average,
        states[-1].ema,
    )
    assert int(states[-1].step) == 3


def test_batches_that_the_devices_cannot_share_are_refused():
    mesh = sharding.data_mesh()
    sharding.check_batch_size(16, mesh, paired=True)
    with pytest.raises(ValueError, match="batch_size 12 is .*8 devices.*choose 8"):
        sharding.check_batch_size(12, mesh)
    with pytest.raises(ValueError, match="batch_size 24 is .*mixup pair.*choose 16"):
        sharding.check_batch_size(24, mesh, paired=True)


@pytest.mark.slow
def test_the_first_float32_loss_of_a_published_network_is_the_same():
    (_, a), (_, b) = (train(n, count=1, model="aemnet_dw") for n in (1, 8))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_the_gradient_norm_is_that_of_what_trains():
    model = steps.tiny().clone(frozen=("frontend", "backbone", "embedding"))
    after, scalars = steps.update(steps.start(), MANY, model=model)
    found = {
        block: np.sqrt(sum((x**2).sum() for x in jax.tree.leaves(gradient)))
        for block, gradient in steps.gradient(after).items()
    }
    assert scalars["grad_norm"] == pytest.approx(found["head"], rel=1e-5)
    assert found["frontend"] == found["backbone"] == 0


# Microbatches.


def bce(logits, labels):
    """From its definition."""
    p = jax.nn.sigmoid(logits)
    return -(labels * jnp.log(p) + (1 - labels) * jnp.log(1 - p)).mean()


@pytest.fixture(scope="module")
def in_parts():
    """(state, scalars) after an update in four parts, on one device."""
    return steps.update(steps.start(), MANY, microbatches=4)


def test_microbatches_give_the_mean_of_the_gradients_of_their_parts(in_parts):
    model, state = steps.tiny(), steps.start()

    @functools.partial(jax.jit, compiler_options=steps.HASTY)
    @functools.partial(jax.value_and_grad, has_aux=True)
    def loss(params, batch_stats, part):
        logits, batch_stats = steps.forward(model, params, batch_stats, part)
        return bce(logits, part["labels"]), batch_stats

    values, gradients, batch_stats = [], [], state.batch_stats
    for number in range(4):
        part = {key: value[number::4] for key, value in MANY.items()}
        (value, batch_stats), found = loss(state.params, batch_stats, part)
        values.append(value)
        gradients.append(found)
    expected = jax.tree.map(lambda *x: np.mean(x, axis=0), *gradients)
    after, scalars = in_parts
    assert scalars["loss"] == pytest.approx(np.mean(values), rel=1e-6)
    steps.assert_close(steps.gradient(after), expected, rtol=1e-4, atol=1e-6)
    steps.assert_close(after.batch_stats, batch_stats, rtol=1e-5, atol=1e-6)
    norm = np.sqrt(sum((x**2).sum() for x in jax.tree.leaves(expected)))
    assert scalars["grad_norm"] == pytest.approx(norm, rel=1e-4)


def test_microbatches_are_the_same_over_eight_devices(in_parts):
    options = {"microbatches": 4, "remat": "block"}
    after, scalars = steps.update_on(8, steps.start(), MANY, **options)
    assert scalars["loss"] == pytest.approx(in_parts[1]["loss"], rel=1e-5)
    steps.assert_close(
        steps.gradient(after), steps.gradient(in_parts[0]), rtol=1e-3, atol=1e-6
    )


def test_every_part_has_rows_of_every_device():
    parts = split_rows({"x": jnp.arange(32), "y": jnp.arange(64).reshape(32, 2)}, 4)
    assert parts["x"].shape == (4, 8) and parts["y"].shape == (4, 8, 2)
    np.testing.assert_array_equal(parts["y"][..., 0], 2 * parts["x"])
    for part in np.asarray(parts["x"]):
        assert set(part // 4) == set(range(8))  # rows 0-3 lie on the first device, ...
    assert sorted(parts["x"].ravel().tolist()) == list(range(32))


def test_parts_that_the_devices_cannot_share_are_refused():
    mesh = sharding.data_mesh()
    sharding.check_batch_size(32, mesh, paired=True, microbatches=4)
    sharding.check_batch_size(48, mesh, paired=True, microbatches=3)
    with pytest.raises(ValueError, match="microbatches is 0, expected at least 1"):
        sharding.check_batch_size(16, mesh, microbatches=0)
    with pytest.raises(ValueError, match="24 is .* 16 .*in 2 microbatches.*choose 16"):
        sharding.check_batch_size(24, mesh, microbatches=2)
    with pytest.raises(ValueError, match="24 is .* 48 .*pair in 3 micro.*choose 48"):
        sharding.check_batch_size(24, mesh, paired=True, microbatches=3)


# Less precision; masks.


@pytest.fixture(scope="module")
def plain():
    """(state, scalars) after an update with nothing special about it."""
    return steps.update(
        steps.start(model := steps.tiny(dropout=0.2)), BATCH, model=model
    )


def test_bfloat16_is_for_computing_alone(plain):
    model = steps.tiny(dropout=0.2, dtype="bfloat16")
    after, scalars = steps.update(steps.start(model), BATCH, model=model)
    for x in jax.tree.leaves((after.weights, steps.gradient(after), scalars)):
        assert x.dtype == np.float32
    assert scalars["loss"] == pytest.approx(plain[1]["loss"], rel=2e-2)
    assert scalars["loss"] != plain[1]["loss"]
    steps.assert_close(after.batch_stats, plain[0].batch_stats, rtol=0.05, atol=0.02)


def test_masks_act_on_what_the_front_end_makes():
    # Enough of them to leave nothing of 15 frames.
    masks = {"time_masks": 500, "time_mask_frames": 15}
    masked = dataclasses.replace(steps.AS_IT_COMES, **masks)
    after, _ = steps.update(steps.start(), BATCH, augment=masked)
    found = steps.gradient(after)
    assert optax.tree.norm(found["frontend"]) == 0
    assert optax.tree.norm(found["head"]) > 0
