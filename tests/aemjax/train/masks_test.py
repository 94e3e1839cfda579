"""What is pruned stays zero: through updates, averages and checkpoints."""

import jax
import numpy as np
import optax
import pytest

from aemjax.compress import pruning
from aemjax.train import checkpoint, optimizer, sharding
from aemjax.train.card import Card
from aemjax.train.masks import apply_masks
from aemjax.train.state import with_ema
from tests.aemjax.train import steps

CARD = Card({}, 16_000, [], True, "mAP", "unknown", {})


def zeros_of(tree, masks):
    return sum(
        (np.asarray(x)[~mask] == 0).all()
        for x, mask in zip(jax.tree.leaves(tree), jax.tree.leaves(masks), strict=True)
    )


def pruned(tx, *, ema=False):
    state = steps.start(tx=tx)
    zeros = pruning.count_zeros(state.params, 0.5)
    masks = pruning.magnitude_masks(state.params, zeros=zeros)
    state = state.replace(params=apply_masks(state.params, masks), masks=masks)
    return with_ema(state) if ema else state


def of_kernels(params, masks):
    """The parameters that have a mask, nested like the masks."""
    return {
        key: of_kernels(params[key], mask) if isinstance(mask, dict) else params[key]
        for key, mask in masks.items()
    }


@pytest.mark.parametrize(
    "name",
    ["adam", *(pytest.param(x, marks=pytest.mark.slow) for x in ("adamw", "lamb"))],
)
def test_updates_leave_them_at_zero(name):
    tx = optimizer.create(name, optax.constant_schedule(0.1), weight_decay=0.1)
    state = pruned(tx, ema=True)
    for seed in range(2):
        batch = steps.a_batch(seed=seed)
        after, _ = steps.update(state, batch, tx=tx, ema_decay=0.5)
        for tree in (after.params, after.ema):
            kernels = of_kernels(tree, state.masks)
            assert zeros_of(kernels, state.masks) == len(jax.tree.leaves(state.masks))
            for x, mask in zip(
                jax.tree.leaves(kernels), jax.tree.leaves(state.masks), strict=True
            ):
                assert np.count_nonzero(x) == np.count_nonzero(mask)
        changed = jax.tree.map(np.array_equal, after.params, state.params)
        assert not any(jax.tree.leaves(changed))
        state = after


def test_the_gradient_norm_is_that_of_what_is_left():
    state = pruned(steps.GRADIENT)
    after, scalars = steps.update(state, steps.a_batch())
    gradients = steps.gradient(after)
    kernels = of_kernels(gradients, state.masks)
    assert zeros_of(kernels, state.masks) == len(jax.tree.leaves(state.masks))
    norm = np.sqrt(sum((x**2).sum() for x in jax.tree.leaves(gradients)))
    assert scalars["grad_norm"] == pytest.approx(norm, rel=1e-5)


def test_checkpoints_keep_the_masks(tmp_path):
    state = pruned(steps.GRADIENT)
    replicated, _ = sharding.shardings(sharding.data_mesh(jax.devices()[:1]))
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, CARD)
        checkpoints.wait()
        like = state.replace(masks=jax.tree.map(np.zeros_like, state.masks))
        found = checkpoints.restore(like, step=0, sharding=replicated)
    jax.tree.map(np.testing.assert_array_equal, found.masks, state.masks)


def test_a_tree_without_masks_is_as_it_was():
    tree = {"a": {"kernel": np.ones(3), "bias": np.ones(2)}}
    assert apply_masks(tree, None) is tree
    found = apply_masks(tree, {"a": {"kernel": np.array([True, False, True])}})
    assert found["a"]["kernel"].tolist() == [1, 0, 1]
    assert found["a"]["bias"].tolist() == [1, 1]
