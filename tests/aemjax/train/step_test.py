"""One device against eight, on the same global batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax import models
from aemjax.audio.augment import Augment
from aemjax.train import losses, optimizer, sharding
from aemjax.train.state import create_state
from aemjax.train.step import jit_train_step

ROWS, SAMPLES, CLASSES = 16, 2400, 5
WIDTH, DECAY = 0.125, 0.9


def batches(steps):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        yield {
            "audio": rng.integers(-9000, 9000, (ROWS, SAMPLES)).astype(np.int16),
            "mean": np.full(ROWS, 0.01, np.float32),
            "std": np.full(ROWS, 0.15, np.float32),
            "labels": (rng.random((ROWS, CLASSES)) < 0.4).astype(np.float32),
        }


def train(devices, *, steps, model="tests.tiny:Backbone", dtype="float32", traces=None):
    """State and loss of each step after training from the same start."""
    mesh = sharding.data_mesh(jax.devices()[:devices])
    replicated, split = sharding.shardings(mesh)
    model = models.create(model, num_classes=CLASSES, width=WIDTH, dtype=dtype)
    rate = optimizer.schedule("cosine", peak=1e-3, total_steps=10)
    tx = optimizer.create("adam", rate, weight_decay=1e-4)
    state = create_state(model, tx, seed=0, mesh=mesh, ema=True)
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
        model=model,
        tx=tx,
        augment=Augment(mixup_start_step=1),
        loss_fn=loss_fn,
        seed=0,
        ema_decay=DECAY,
    )
    states, found = [jax.device_get(state)], []
    for batch in batches(steps):
        state, scalars = step(state, sharding.global_batch(batch, split))
        states.append(jax.device_get(state))
        found.append(float(scalars["loss"]))
    return states, found


@pytest.fixture(scope="module")
def one():
    return train(1, steps=3)


def test_eight_devices_train_as_one_does(one):
    traces = []
    states, found = train(8, steps=3, traces=traces)
    assert len(traces) == 1  # a second step of the same shape does not retrace
    np.testing.assert_allclose(found[0], one[1][0], rtol=1e-5)
    # Adam turns the sign of a gradient that is all but zero into a whole step, so later
    # losses follow the order of summation; float64 below holds them.
    np.testing.assert_allclose(found, one[1], rtol=1e-2)


def test_eight_devices_equal_one_in_float64():
    with jax.enable_x64(True):
        (*_, a), first = train(1, steps=3, model="aemnet_dw", dtype="float64")
        (*_, b), second = train(8, steps=3, model="aemnet_dw", dtype="float64")
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


def test_the_first_float32_loss_of_a_published_network_is_the_same():
    (_, a), (_, b) = (train(n, steps=1, model="aemnet_dw") for n in (1, 8))
    np.testing.assert_allclose(a, b, rtol=1e-5)
