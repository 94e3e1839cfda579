import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from aemjax import models
from aemjax.compress import pruning

PARAMS = {
    "conv": {"kernel": np.array([[3.0, -1.0], [0.5, -4.0]])},
    "bn": {"scale": np.array([0.1, 0.2]), "bias": np.array([0.0, 0.0])},
    "dense": {"kernel": np.array([[-2.0], [0.25]]), "bias": np.array([0.01])},
}


def masks(zeros, **options):
    found = pruning.magnitude_masks(PARAMS, zeros=zeros, **options)
    assert set(flatten_dict(found)) == {("conv", "kernel"), ("dense", "kernel")}
    return found["conv"]["kernel"].tolist(), found["dense"]["kernel"].tolist()


def test_the_smallest_of_all_kernels_go():
    assert masks(0) == ([[True, True], [True, True]], [[True], [True]])
    assert masks(1) == ([[True, True], [True, True]], [[True], [False]])
    assert masks(3) == ([[True, False], [False, True]], [[True], [False]])
    assert masks(6) == ([[False, False], [False, False]], [[False], [False]])


def test_or_the_same_share_of_each():
    assert masks(3, scope="layer") == (
        [[True, False], [False, True]],
        [[True], [False]],
    )
    # Two of four and one of two would be three: the larger's go first.
    found = masks(2, scope="layer")
    assert sum(np.logical_not(mask).sum() for mask in found) == 2
    assert np.logical_not(found[0]).sum() == 1


@pytest.mark.parametrize("scope", pruning.SCOPES)
def test_counts_are_exact_and_what_went_stays_gone(scope):
    rng = np.random.default_rng(0)
    params = {
        name: {"kernel": rng.normal(size=shape).round(1)}  # with many equal ones
        for name, shape in {"a": (7, 3), "b": (5, 11), "c": (2,)}.items()
    }
    before = None
    for zeros in range(79):
        found = pruning.magnitude_masks(params, zeros=zeros, scope=scope)
        flat = np.concatenate([mask.ravel() for mask in flatten_dict(found).values()])
        assert (~flat).sum() == zeros
        if before is not None:
            assert not (flat & ~before).any()
        before = flat
        params = jax.tree.map(lambda x, mask: np.where(mask, x, 0), params, found)


def test_the_published_ticket():
    """Galindo-Meza 2021, chapter 5.4.1: 127,637 of AemNet-DW 0.5's 319,093."""
    model = models.create("aemnet_dw", num_classes=10, frontend="llf2", width=0.5)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 16_000)))
    )
    params = jax.tree.map(lambda x: np.ones(x.shape, np.float32), shapes["params"])
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    zeros = pruning.count_zeros(params, 0.6)
    assert (total, zeros, total - zeros) == (319_093, 191_456, 127_637)
    found = flatten_dict(pruning.magnitude_masks(params, zeros=zeros))
    assert sum(mask.size for mask in found.values()) == 314_793


@pytest.mark.parametrize("sparsity", [-0.1, 0.6, 1.0])
def test_a_sparsity_that_the_kernels_cannot_meet_is_refused(sparsity):
    with pytest.raises(ValueError, match=rf"sparsity is {sparsity}, .*0 to 0\.5455"):
        pruning.count_zeros(PARAMS, sparsity)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zeros": 7}, "zeros is 7, expected from 0 to 6"),
        (
            {"zeros": 1, "scope": "channel"},
            "unknown scope 'channel'; known: global, la",
        ),
    ],
)
def test_what_cannot_be_masked_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pruning.magnitude_masks(PARAMS, **options)


def test_rounds_leave_the_same_share_each():
    found = pruning.geometric_schedule(0.875, 3)
    assert found == pytest.approx([0.5, 0.75, 0.875])
