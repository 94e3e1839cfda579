import importlib.util
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax import models
from aemjax.export.pytorch_file import to_state_dict
from aemjax.train import sharding
from benchmarks import training
from benchmarks.accelerator import noise
from pretrain.compile_only import step_recipe

TINY = {"name": "aemresnet", "width": 0.125}


def case(model, **changes):
    row = dict(zip(training.KEYS, (model, 0.2, 4, "float32", False), strict=True))
    return row | changes


def test_a_step_of_ours_is_compiled_and_timed():
    side = training.JaxSide()
    about = side.prepare(case(TINY, augmented=True, batch=16))
    assert about["flop per clip"] > 1e6
    assert about["memory_gib"] > 0
    assert side.time(2) > 0


class _Fails:
    def prepare(self, case):
        raise ValueError(f"no {case}")


def test_what_goes_wrong_in_a_side_is_told_here():
    with training.Side(_Fails) as side, pytest.raises(RuntimeError, match="no such"):
        side.ask("prepare", case="such")


class _Dies:
    def prepare(self, case):
        pass

    def time(self, steps):
        os._exit(9)


def test_a_side_that_dies_is_told_with_its_case():
    with training.Side(_Dies) as side:
        side.ask("prepare", case={"batch": 64})
        message = "_Dies ended in time of {'batch': 64}, exit code 9; .* a smaller bat"
        for _ in range(2):
            with pytest.raises(RuntimeError, match=message):
                side.ask("time", steps=1)


def test_rows_are_lines():
    row = case(TINY) | {
        "clips/s": 12.0,
        "pytorch": {"eager": {"ours / theirs": 2.0}},
        "share of the matrix rate": 0.25,
    }
    line = training.describe(row)
    for part in ("aemresnet 0.125", "plain", "12.0 clips/s", "eager 2.00", "25.0%"):
        assert part in line


@pytest.mark.torch
@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="no PyTorch")
@pytest.mark.parametrize("name", ["aemnet", "aemnet_dw", "aemresnet"])
def test_both_sides_have_equal_losses_on_equal_weights(name):
    import torch

    from benchmarks import pytorch_aemnet, pytorch_training

    model = {"name": name, "width": 0.125, "dropout": 0.0}
    config = training.case_config(case(model))
    network = pytorch_aemnet.create(**model, num_classes=527)
    variables = models.create(**config.model).init(
        jax.random.key(0), jnp.zeros((1, 3200))
    )
    state = {key: torch.tensor(x) for key, x in to_state_dict(variables).items()}
    network.load_state_dict(state, strict=True)
    theirs = pytorch_training.Step(network, device="cpu", augmented=False)

    mesh = sharding.data_mesh(jax.devices()[:1])
    plan = step_recipe(config, mesh)
    ours = plan.create_state().replace(
        params=variables["params"], batch_stats=variables["batch_stats"]
    )
    batch = noise(config)
    losses = []
    for _ in range(2):
        ours, scalars = plan.train_step(ours, jax.tree.map(jnp.asarray, batch))
        loss = theirs({key: torch.tensor(x) for key, x in batch.items()})
        losses.append((float(scalars["loss"]), loss.item()))
    mine, peers = np.transpose(losses)
    assert np.abs(np.diff(mine)).min() > 1e-3  # updates change it
    np.testing.assert_allclose(mine, peers, rtol=1e-4)
