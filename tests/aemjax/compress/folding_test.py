"""Folding BatchNorm."""

import jax
import numpy as np
import pytest

from aemjax.compress import folding, size
from aemjax.models import create
from tests.aemjax.models.networks import NETWORKS, clips, network, paths, shapes_of


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_stay_and_so_do_zeros(name):
    net = network(name, frontend="llf2")
    variables = jax.tree.map(np.array, net.variables)
    variables["params"]["frontend"]["conv2"]["kernel"][1] = 0
    folded = folding.fold(variables)
    model = create(name, num_classes=7, width=0.25, frontend="llf2", numerics="folded")
    shapes = shapes_of(model)
    assert set(shapes) == {"params"}
    assert jax.tree.map(np.shape, folded) == jax.tree.map(
        lambda x: x.shape, shapes["params"]
    )
    audio = clips(480)
    expected = net.model.apply(variables, audio)
    found = model.apply({"params": folded}, audio)
    for got, wanted in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    assert not folded["frontend"]["conv2"]["kernel"][1].any()
    # What an engine stores, by the count of the network as it was.
    before, after = (
        size.total(size.measure(params)) for params in (variables["params"], folded)
    )
    assert after.stored_bytes(1) == before.stored_bytes(1)


def test_a_channel_by_hand():
    variables = {
        "params": {
            "conv1": {"kernel": np.array([[[2.0, 0.0]]])},
            "bn1": {"scale": np.array([3.0, 1.0]), "bias": np.array([0.5, 0.25])},
        },
        "batch_stats": {
            "bn1": {"mean": np.array([4.0, 1.0]), "var": np.array([9.0, 1.0]) - 1e-5}
        },
    }
    folded = paths(folding.fold(variables))
    np.testing.assert_allclose(folded["conv1/kernel"], [[[2.0, 0.0]]])
    np.testing.assert_allclose(folded["conv1/bias"], [0.5 - 4.0, 0.25 - 1.0])
    assert {x.dtype for x in folded.values()} == {np.dtype("float32")}


def test_a_network_without_batch_norm_is_refused():
    with pytest.raises(ValueError, match="no BatchNorm to fold: was that done"):
        folding.fold({"params": {"conv1": {}}, "batch_stats": {}})
