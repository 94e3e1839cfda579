"""The two classifiers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.models import create, heads
from tests.aemjax.models import reference
from tests.aemjax.models.networks import OWN, clips, random_variables, shapes_of


@pytest.mark.parametrize("lengths", [None, (2, 5)], ids=["whole", "padded"])
def test_acnet_is_dropout_then_convolution_then_average(lengths):
    rng = np.random.default_rng(0)
    frames = jnp.asarray(rng.normal(size=(2, 5, 4, 64)), jnp.float32)
    head = heads.AclNetHead(num_classes=3, dropout=0.25)
    kernel = rng.normal(size=(64, 3)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    variables = {"params": {"dense": {"kernel": kernel, "bias": bias}}}
    valid = None if lengths is None else jnp.array(lengths)

    def literal(frames):
        scores = np.einsum("bfwd,dk->bfwk", np.float64(frames), kernel) + bias
        counts = lengths or (5, 5)
        return [row[:n].mean((0, 1)) for row, n in zip(scores, counts, strict=True)]

    logits = head.apply(variables, frames, valid, train=False)
    np.testing.assert_allclose(logits, literal(frames), rtol=1e-5, atol=1e-5)

    logits, state = head.apply(
        variables,
        frames,
        valid,
        train=True,
        rngs={"dropout": jax.random.key(0)},
        mutable=["intermediates"],
        capture_intermediates=lambda module, _: isinstance(module, nn.Dropout),
    )
    ((dropped,),) = jax.tree.leaves(
        state["intermediates"], is_leaf=lambda x: isinstance(x, tuple)
    )
    kept = np.asarray(dropped) != 0
    assert 0.7 < kept.mean() < 0.8
    # Every position draws its own.
    assert all((kept[0, 0, 0] != kept[0, i, j]).any() for i, j in ((0, 1), (1, 0)))
    np.testing.assert_allclose(dropped, np.where(kept, frames / 0.75, 0), rtol=1e-6)
    np.testing.assert_allclose(logits, literal(dropped), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [None, (480, 960)], ids=["whole", "padded"])
def test_acnet_reads_the_embedding_of_every_position(lengths):
    blocks = dict(frontend=f"{OWN}:FrontEnd", head="acnet", width=0.25)
    model = create(f"{OWN}:Backbone", num_classes=3, **blocks)
    variables = random_variables(shapes_of(model))
    lengths = None if lengths is None else jnp.array(lengths)
    logits, aux = model.apply(variables, clips(960), lengths)
    # Average and dense layers commute where nothing bends in between.
    p = jax.tree.map(np.float64, variables["params"])
    embedding = reference.dense(np.float64(aux["pooled"]), p["embedding"])
    np.testing.assert_allclose(aux["embedding"], embedding, rtol=1e-5, atol=1e-5)
    expected = reference.dense(embedding, p["head"]["dense"])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_aclnetx_is_relu_dropout_dense():
    rng = np.random.default_rng(0)
    embedding = jnp.asarray(rng.normal(size=(4, 512)), jnp.float32)
    head = heads.AclNetXHead(num_classes=3, dropout=0.0)
    kernel = rng.normal(size=(512, 3)).astype(np.float32)
    variables = {"params": {"dense": {"kernel": kernel, "bias": np.float32([1, 2, 3])}}}
    expected = np.maximum(np.float64(embedding), 0) @ kernel + [[1, 2, 3]]
    got = head.apply(variables, embedding, train=False)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)
