"""Names of parameters, which checkpoints are read by."""

import pytest

from tests.aemjax.models.networks import NETWORKS, network, paths

GOLDEN = {
    "aemnet": """
        frontend/bn1 frontend/bn2 frontend/conv1 frontend/conv2
        backbone/bn3 backbone/bn4 backbone/bn5 backbone/bn6 backbone/bn7 backbone/bn8
        backbone/bn9 backbone/bn10 backbone/bn11
        backbone/conv3 backbone/conv4 backbone/conv5 backbone/conv6 backbone/conv7
        backbone/conv8 backbone/conv9 backbone/conv10 backbone/conv11
        head/dense
    """,
    "aemnet_dw": """
        frontend/bn1 frontend/bn2 frontend/conv1 frontend/conv2
        backbone/conv3 backbone/conv4 backbone/conv5 backbone/conv6 backbone/conv7
        backbone/conv8 backbone/conv9 backbone/conv10 backbone/conv11
        embedding/bias embedding/kernel
        head/dense
    """,
    "aemresnet": """
        frontend/bn1 frontend/bn2 frontend/conv1 frontend/conv2
        backbone/bn3 backbone/conv3
        backbone/block1 backbone/block2 backbone/block3 backbone/block4
        backbone/block5 backbone/block6 backbone/block7 backbone/block8
        embedding/bias embedding/kernel
        head/dense
    """,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_paths(name):
    leaves = paths(network(name).variables["params"])
    assert {"/".join(p.split("/")[:2]) for p in leaves} == set(GOLDEN[name].split())


def test_parameter_paths_inside_the_blocks():
    resnet = paths(network("aemresnet").variables["params"]["backbone"])
    norms = {f"{bn}/{p}" for bn in ("bn1", "bn2") for p in ("bias", "scale")}
    plain = norms | {"conv1/kernel", "conv2/kernel"}
    extra = {"projection/kernel", "projection_bn/bias", "projection_bn/scale"}
    for i in range(1, 9):
        prefix = f"block{i}/"
        inside = {p.removeprefix(prefix) for p in resnet if p.startswith(prefix)}
        assert inside == (plain | extra if i in (3, 5, 7) else plain)
    separable = paths(network("aemnet_dw").variables["params"]["backbone"]["conv3"])
    assert set(separable) == {
        f"{kind}{leaf}"
        for kind in ("depthwise", "pointwise")
        for leaf in ("/kernel", "_bn/bias", "_bn/scale")
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_stats_have_the_paths_of_the_batch_norms(name):
    variables = network(name).variables
    norms = {p[: -len("/scale")] for p in paths(variables["params"]) if "scale" in p}
    stats = {f"{bn}/{leaf}" for bn in norms for leaf in ("mean", "var")}
    assert set(paths(variables["batch_stats"])) == stats
