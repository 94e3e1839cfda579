"""Compute types, frozen blocks, statistics, dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.models import backbones, create, frontends
from tests.aemjax.models import reference
from tests.aemjax.models.networks import (
    NETWORKS,
    NUM_CLASSES,
    OWN,
    clips,
    front_end_variables,
    network,
    outputs_of,
    paths,
    quick_jit,
    random_variables,
    shapes_of,
)

# Compute type.


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_float32_whatever_the_compute_type(name):
    model = create(name, num_classes=NUM_CLASSES, width=0.25, dtype="bfloat16")
    (logits, aux), variables = outputs_of(model)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, network(name).variables
    )
    leaves = (logits, *aux.values(), *jax.tree.leaves(variables))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["aemnet", "aemresnet"])
def test_bfloat16_stays_near_float32(name):
    net = network(name, frontend="llf1")
    narrow = create(name, num_classes=NUM_CLASSES, width=0.25, dtype="bfloat16")
    audio = clips(800)
    logits, aux = quick_jit(narrow.apply)(net.variables, audio)
    assert {x.dtype for x in (logits, *aux.values())} == {jnp.dtype("float32")}
    expected = net.apply(audio)[0]
    error = np.abs(logits - expected).max()
    assert 0 < error < 0.03 * np.abs(expected).max()  # 8 bits of mantissa, not 24


# Training.


def train_apply(model):
    """(variables, audio, lengths) -> (logits, new batch_stats), compiled."""

    def apply(variables, audio, lengths=None):
        rngs = {"dropout": jax.random.key(3)}
        (logits, _), new = model.apply(
            variables, audio, lengths, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return logits, new["batch_stats"]

    return quick_jit(apply)


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_blocks_keep_their_statistics(name):
    net = network(name, frontend="llf1")
    model = create(name, num_classes=NUM_CLASSES, width=0.25, dropout=0.0)
    model = model.clone(frozen=("frontend", "backbone"))
    audio = clips(800)
    logits, stats = train_apply(model)(net.variables, audio)
    jax.tree.map(np.testing.assert_array_equal, stats, net.variables["batch_stats"])
    # No statistics of the batch in the result either: dropout is 0.
    np.testing.assert_allclose(logits, net.apply(audio)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frozen", ["frontend", "backbone"])
def test_only_what_is_frozen_keeps_its_statistics(frozen):
    own = dict(name=f"{OWN}:Backbone", num_classes=3, width=0.25)
    model = create(**own).clone(frozen=(frozen,))
    variables = random_variables(shapes_of(model))
    stats = paths(train_apply(model)(variables, clips(800))[1])
    assert {path.split("/")[0] for path in stats} == {"frontend"}
    for path, before in paths(variables["batch_stats"]).items():
        assert np.array_equal(stats[path], before) == (frozen == "frontend"), path


@pytest.mark.parametrize(
    "module",
    [backbones.BasicBlock(6, 2), backbones.BasicBlock(4), backbones.SeparableConv(6)],
    ids=["strided", "plain", "separable"],
)
def test_padding_does_not_enter_the_statistics(module):
    frames = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 6, 4)), "float32")
    padded = jnp.pad(frames, ((0, 0), (0, 4), (0, 0), (0, 0)))
    init = functools.partial(module.init, valid=None, train=False)
    variables = random_variables(jax.eval_shape(init, jax.random.key(0), frames))
    apply = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    apply = quick_jit(apply)
    (expected, _), expected_stats = apply(variables, frames, None)
    (got, valid), stats = apply(variables, padded, jnp.array([5, 5]))
    assert (valid == expected.shape[1]).all()
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    close(got[:, : valid[0]], expected)
    assert not got[:, valid[0] :].any()
    jax.tree.map(close, stats, expected_stats)


def test_batch_stats_equal_the_numpy_reference():
    module = frontends.LLF()
    lengths = np.array([800, 1_600])
    audio = clips(1_600).at[0, 800:].multiply(100)
    variables = front_end_variables(module, audio)
    apply = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    _, new = quick_jit(apply)(variables, audio, jnp.asarray(lengths))
    kernel = np.float64(variables["params"]["conv1"]["kernel"])
    filtered = np.concatenate(
        [
            reference.conv(np.float64(row[None, :n, None]), kernel, stride=16)[0]
            for row, n in zip(audio, lengths, strict=True)
        ]
    )
    before, after = variables["batch_stats"]["bn1"], new["batch_stats"]["bn1"]
    for name, value in (("mean", filtered.mean(0)), ("var", filtered.var(0))):
        expected = 0.9 * before[name] + 0.1 * value
        np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-6)


def test_dropout_draws_by_key_and_not_in_a_frozen_head():
    own = dict(name=f"{OWN}:Backbone", frontend=f"{OWN}:FrontEnd", num_classes=3)
    audio = clips(480)

    def scores(seed, frozen=()):
        model = create(**own, dropout=0.5).clone(frozen=frozen)
        variables = random_variables(shapes_of(model))
        if seed is None:
            return np.asarray(model.apply(variables, audio)[0])
        rngs = {"dropout": jax.random.key(seed)}
        return np.asarray(model.apply(variables, audio, train=True, rngs=rngs)[0])

    first, evaluated = scores(0), scores(None)
    np.testing.assert_array_equal(scores(0), first)
    assert np.abs(scores(1) - first).max() > 1e-3
    assert np.abs(evaluated - first).max() > 1e-3
    np.testing.assert_array_equal(scores(0, frozen=("head",)), evaluated)
