import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.audio.augment import standardize
from aemjax.train import losses, sharding
from aemjax.train.distill import Distillation, probabilities
from aemjax.train.step import jit_train_step, train_step
from tests.aemjax.train import steps

BATCH = steps.a_batch()
STUDENT, TEACHER = steps.tiny(), steps.tiny(width=0.25)
ONLINE = Distillation(True, TEACHER, temperature=2)
CASES = {True: losses.binary_cross_entropy, False: losses.cross_entropy}


def by_hand(logits, outputs, *, multi_label, temperature):
    """Cross-entropy of each row in float64, from its definition."""
    z, outputs = np.asarray(logits, np.float64) / temperature, np.asarray(outputs)
    if multi_label:
        p = 1 / (1 + np.exp(-z))
        found = outputs * np.log(p) + (1 - outputs) * np.log(1 - p)
        return -(temperature**2) * found.mean(axis=1)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return -(temperature**2) * (outputs * np.log(p)).sum(axis=1)


@pytest.fixture
def scores():
    """(logits, labels, outputs) of six clips."""
    rng = np.random.default_rng(0)
    labels = np.eye(4)[rng.integers(0, 4, 6)]
    outputs = rng.dirichlet(np.ones(4), 6)
    found = rng.normal(scale=2, size=(6, 4)), labels, outputs
    return [jnp.asarray(x, jnp.float32) for x in found]


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("temperature", [1, 3.0])
def test_the_loss_against_numpy(scores, multi_label, temperature):
    logits, labels, outputs = scores
    distillation = Distillation(
        multi_label, label_weight=0.3, teacher_weight=0.7, temperature=temperature
    )
    targets = {"labels": labels, "teacher": outputs}
    found = distillation.loss(logits, targets, CASES[multi_label])
    taught = by_hand(logits, outputs, multi_label=multi_label, temperature=temperature)
    own = by_hand(logits, labels, multi_label=multi_label, temperature=1)
    np.testing.assert_allclose(found, 0.3 * own + 0.7 * taught, rtol=1e-5)


def test_a_clip_without_outputs_keeps_to_its_labels(scores):
    logits, labels, outputs = scores
    # Known; unknown; mixed with an unknown one; mixed with next to nothing of one.
    taught = jnp.array([1, 0, 0.5, 0.9, 0.9995, 1.0])
    targets = {"labels": labels, "teacher": outputs, "taught": taught}
    found = Distillation(False).loss(logits, targets, losses.cross_entropy)
    expected = 0.1 * by_hand(logits, labels, multi_label=False, temperature=1)
    taught_by = by_hand(logits, outputs, multi_label=False, temperature=1)
    expected += 0.9 * taught_by * [1, 0, 0, 0, 1, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_without_a_part_for_the_teacher_it_is_plain_training(scores):
    logits, labels, outputs = scores
    nothing = Distillation(True, label_weight=1, teacher_weight=0)
    targets = {"labels": labels, "teacher": outputs}
    label_loss = losses.get("bce", multi_label=True, label_smoothing=0.2)

    def taught(logits):
        return nothing.loss(logits, targets, label_loss).mean()

    def plain(logits):
        return label_loss(logits, labels).mean()

    for found, expected in zip(
        jax.value_and_grad(taught)(logits),
        jax.value_and_grad(plain)(logits),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_probabilities_are_of_logits_over_the_temperature():
    logits = jnp.log(jnp.array([[1.0, 4.0, 16.0]]))
    found = probabilities(logits, multi_label=False, temperature=2)
    np.testing.assert_allclose(found, [[1 / 7, 2 / 7, 4 / 7]], rtol=1e-6)
    found = probabilities(logits, multi_label=True, temperature=2)
    np.testing.assert_allclose(found, [[1 / 2, 2 / 3, 4 / 5]], rtol=1e-6)
    half = probabilities(logits.astype(jnp.bfloat16), multi_label=True, temperature=2)
    assert half.dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature is 0, expected above 0"),
        ({"temperature": float("nan")}, "temperature is nan, expected above 0"),
        ({"label_weight": -0.1}, "label_weight is -0.1, expected >= 0"),
        ({"teacher_weight": float("nan")}, "teacher_weight is nan, expected >= 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Distillation(True, **options)


# In a step.


def weights_of(seed):
    state = steps.start(TEACHER, seed=seed)
    # Running statistics that are not those of a new network.
    stats = jax.tree.map(lambda x: x + 0.1, state.batch_stats)
    return {"params": state.params, "batch_stats": stats}


@functools.cache
def outputs_of(seed):
    """Outputs of the teacher for BATCH, at the temperature."""
    audio = standardize(*(jnp.asarray(BATCH[k]) for k in ("audio", "mean", "std")))
    apply = jax.jit(functools.partial(TEACHER.apply, train=False))
    logits, _ = apply(weights_of(seed), audio)
    return 1 / (1 + np.exp(-np.asarray(logits) / 2))


@pytest.fixture(scope="module")
def online():
    """(state, scalars) of an update with the teacher in it."""
    return steps.update(
        steps.start(), BATCH, teacher=weights_of(1), distillation=ONLINE
    )


def test_a_teacher_in_the_step_is_as_its_stored_outputs(online):
    stored = BATCH | {
        "teacher": outputs_of(1),
        "taught": np.ones(steps.ROWS, np.float32),
    }
    offline = dataclasses.replace(ONLINE, teacher=None)
    after, scalars = steps.update(steps.start(), stored, distillation=offline)
    assert online[1]["loss"] == pytest.approx(scalars["loss"], rel=1e-5)
    steps.assert_close(
        steps.gradient(online[0]), steps.gradient(after), rtol=1e-3, atol=1e-6
    )


def test_the_loss_of_a_step_by_hand(online):
    state = steps.start()
    logits, _ = steps.forward(STUDENT, state.params, state.batch_stats, BATCH)
    own = by_hand(logits, BATCH["labels"], multi_label=True, temperature=1)
    taught = by_hand(logits, outputs_of(1), multi_label=True, temperature=2)
    expected = (0.1 * own + 0.9 * taught).mean()
    assert online[1]["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_teacher_has_no_gradient():
    options = steps.OPTIONS | {"model": STUDENT, "distillation": ONLINE}

    @functools.partial(jax.jit, compiler_options=steps.HASTY)
    @functools.partial(jax.grad, argnums=2)
    def gradient(state, batch, weights):
        return train_step(state, batch, weights, **options)[1]["loss"]

    found = gradient(steps.start(), BATCH, weights_of(1))
    assert all((x == 0).all() for x in jax.tree.leaves(found))


def test_a_teacher_is_an_argument_of_the_compiled_step(online):
    mesh = sharding.data_mesh()
    replicated, split = sharding.shardings(mesh)
    traces = []

    def label_loss(logits, labels):
        traces.append(logits.shape)
        return losses.binary_cross_entropy(logits, labels)

    options = steps.OPTIONS | {"phases": [(0, STUDENT)], "loss_fn": label_loss}
    step = jit_train_step(
        mesh,
        teacher=jax.device_put(weights_of(1), replicated),
        distillation=ONLINE,
        **options,
    )
    other = dataclasses.replace(step, teacher=jax.device_put(weights_of(2), replicated))
    batch = sharding.global_batch(BATCH, split)
    one, two = (
        float(taught(jax.device_put(steps.start(), replicated), batch)[1]["loss"])
        for taught in (step, other)
    )
    assert one == pytest.approx(online[1]["loss"], rel=1e-5)
    assert abs(one - two) > 1e-4
    assert len(traces) == 1
