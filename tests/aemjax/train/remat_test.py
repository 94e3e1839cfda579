"""What is kept for the gradient, and what is computed again.

How much memory that makes depends on the compiler's order; XLA's for a CPU computes all
of it again at once, and saves nothing.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from aemjax import models
from aemjax.train.remat import POLICIES, rematerialize
from aemjax.train.step import train_step
from tests.aemjax.train import steps

ROWS = 3  # no other axis is of this size


@pytest.fixture(scope="module")
def published():
    """(loss of a published network, shapes of its arguments)."""
    model = models.create("aemresnet", num_classes=5, width=0.125)

    def loss(params, batch_stats, audio):
        weights = {"params": params, "batch_stats": batch_stats}
        rngs = {"dropout": jax.random.key(0)}
        (logits, _), _ = model.apply(
            weights, audio, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return logits.sum()

    audio = jax.ShapeDtypeStruct((ROWS, 16_000), jnp.float32)
    init = functools.partial(model.init, jax.random.key(0))
    weights = jax.eval_shape(init, jnp.zeros((1, 16_000)))
    return loss, (weights["params"], weights["batch_stats"], audio)


def kept(function, params, *rest):
    """Numbers of activations that go from the forward to the backward pass."""

    def backward(params, *rest):
        return jax.vjp(lambda params: function(params, *rest), params)[1]

    found = jax.tree.leaves(jax.eval_shape(backward, params, *rest))
    return sum(x.size for x in found if x.shape[:1] == (ROWS,))


def test_less_is_kept_of_a_published_network(published):
    loss, shapes = published
    none, conv, block = (kept(rematerialize(loss, name), *shapes) for name in POLICIES)
    assert conv < none / 3
    assert block < conv / 2


def test_each_block_is_computed_again_by_itself(published):
    loss, shapes = published
    equations = jax.make_jaxpr(rematerialize(loss, "block"))(*shapes).eqns
    pieces = [e for e in equations if e.params.get("policy") is POLICIES["block"]]
    assert len(pieces) == len(equations) == 1 + 8 + 1  # front end, blocks, the rest
    assert rematerialize(loss, "none") is loss


@pytest.mark.parametrize("name", ["conv", "block"])
def test_pieces_make_up_the_function(name):
    """Values from before, a constant, a result that is an argument, and trees."""
    table = jnp.arange(1.0, 4)

    def function(x, tree):
        first = checkpoint_name(jnp.sin(x * tree["a"]), "block")
        second = checkpoint_name(checkpoint_name(first * table, "conv") ** 2, "block")
        return (second * jnp.cos(first) + x).sum(), {"x": x, "y": second, "z": 1.0}

    arguments = jnp.array([0.1, 0.7, 2.0]), {"a": jnp.array([2.0, -1.0, 0.5])}
    for transform in (lambda f: f, lambda f: jax.grad(f, (0, 1), has_aux=True)):
        expected = transform(function)(*arguments)
        for compile in (lambda f: f, jax.jit):
            found = compile(transform(rematerialize(function, name)))(*arguments)
            steps.assert_close(found, expected, rtol=1e-6)


def test_a_step_computes_more_where_it_keeps_less():
    def flops(remat):
        options = steps.OPTIONS | {"model": steps.tiny(), "remat": remat}
        step = jax.jit(functools.partial(train_step, **options))
        lowered = step.lower(steps.start(), steps.a_batch())
        return lowered.cost_analysis()["flops"]

    none, conv, block = map(flops, POLICIES)
    assert none < conv < 1.1 * none  # all but the convolutions
    assert 1.2 * none < block < 1.4 * none  # most of a third forward pass


@pytest.fixture(scope="module")
def plain():
    """(state, scalars) of an update that keeps all."""
    model = steps.tiny(dropout=0.2)
    return steps.update(steps.start(model), steps.a_batch(), model=model)


@pytest.mark.parametrize("remat", ["conv", "block"])
def test_what_is_computed_again_is_what_it_was(plain, remat):
    model = steps.tiny(dropout=0.2)
    state = steps.start(model)
    after, scalars = steps.update(state, steps.a_batch(), model=model, remat=remat)
    assert scalars["loss"] == pytest.approx(plain[1]["loss"], rel=1e-6)
    steps.assert_close(
        steps.gradient(after), steps.gradient(plain[0]), rtol=1e-5, atol=1e-6
    )
    steps.assert_close(after.batch_stats, plain[0].batch_stats, rtol=1e-6, atol=1e-7)
    assert np.isfinite(scalars["grad_norm"])
