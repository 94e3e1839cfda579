"""Ours and PyTorch's networks give the same outputs with the same weights."""

import functools
import importlib.util

import numpy as np
import pytest

from aemjax.export.pytorch_file import from_state_dict, to_state_dict
from tests.aemjax.models.networks import (
    NETWORKS,
    NUM_CLASSES,
    Network,
    clips,
    quick_jit,
)

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="no PyTorch"),
]

SECONDS = (0.3, 1.0)
# Here the second convolution of llf-fast reads the last zero that is padded behind.
SECONDS_TO_THE_END = 0.309
CASES = [
    *((name, {"frontend": llf}) for name in NETWORKS for llf in ("llf1", "llf2")),
    # A kernel of even size, and each head where the other is the published one.
    ("aemnet", {"frontend": "llf-fast", "head": "aclnetx"}),
    ("aemnet_dw", {"head": "acnet"}),
]


@pytest.fixture(scope="module")
def torch():
    import torch  # only here: collecting the tests takes no seconds then

    torch.set_num_threads(2)
    return torch


def pytorch_network(name, options):
    from benchmarks import pytorch_aemnet

    sizes = {"num_classes": NUM_CLASSES, "width": 0.25}
    return pytorch_aemnet.create(name, **sizes | options)


def assert_same_outputs(torch, ours, theirs, lengths_s):
    theirs.eval()
    for seconds in lengths_s:
        audio = clips(round(seconds * 16_000))
        logits, aux = ours(audio)
        with torch.inference_mode():
            found = theirs(torch.tensor(np.asarray(audio)))
        expected = {"logits": logits, "embedding": aux["embedding"]}
        for x, (key, wanted) in zip(found, expected.items(), strict=True):
            assert np.abs(wanted).max() > 0.1, key  # else anything would be near it
            np.testing.assert_allclose(
                x.numpy(), wanted, rtol=0, atol=1e-4, err_msg=f"{key}, {seconds} s"
            )


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_weights_go_over_and_come_back(torch, name, options):
    ours = Network(name, **options)
    variables, apply = ours.variables, quick_jit(ours.model.apply)
    fast = options.get("frontend") == "llf-fast"
    lengths_s = (*SECONDS, SECONDS_TO_THE_END) if fast else SECONDS
    theirs = pytorch_network(name, options)
    state = {key: torch.tensor(x) for key, x in to_state_dict(variables).items()}
    theirs.load_state_dict(state, strict=True)
    assert_same_outputs(torch, functools.partial(apply, variables), theirs, lengths_s)

    torch.manual_seed(0)
    theirs = pytorch_network(name, options)
    with torch.no_grad():  # in training: running statistics that are not 0 and 1
        theirs(torch.tensor(np.asarray(clips(8_000))))
    state = {key: x.numpy() for key, x in theirs.state_dict().items()}
    variables = from_state_dict(state, variables)
    assert_same_outputs(torch, functools.partial(apply, variables), theirs, lengths_s)
