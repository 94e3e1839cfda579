import subprocess

import jax
import jax.numpy as jnp
import pytest

from aemjax import models
from aemjax.train import sharding
from aemjax.train.distill import Distillation
from aemjax.train.state import TrainState
from benchmarks import collectives
from configs.pretrain import aemresnet_audioset
from pretrain.train import Teaching

AS_IT_COMES = {
    "augment.gain_db": 0.0,
    "augment.noise_probability": 0.0,
    "augment.mixup_alpha": 0.0,
}
EVERYTHING = {
    "augment.max_roll_s": 0.05,
    "augment.polarity_probability": 0.5,
    "augment.time_masks": 2,
    "augment.time_mask_frames": 4,
    "augment.channel_masks": 1,
    "augment.channel_mask_channels": 8,
    "train.microbatches": 4,
    "train.ema_decay": 0.99,
    "optimizer.clip_norm": 1.0,
    "distill.logits": "stored",
    "distill.teacher_weight": 0.9,
}


def measure(devices, changes, teaching=None):
    config = collectives.small("tests.tiny:Backbone")
    config.model.num_classes = 12
    config.update_from_flattened_dict(changes)
    mesh = sharding.data_mesh(jax.devices()[:devices])
    return collectives.measure(config, mesh, teaching)


def shapes(model):
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 1600)))
    )
    return TrainState(step=0, opt_state=(), ema=None, **variables)


@pytest.mark.parametrize("devices", [2, 8])
def test_devices_send_the_gradient_the_statistics_and_the_loss(devices):
    found = measure(devices, AS_IT_COMES)
    assert set(found["collectives"]) == {"all-reduce"}
    assert found["bytes"] == found["expected_bytes"]
    assert found["devices"] == devices


def test_what_is_expected_is_counted_by_hand():
    model = models.create("tests.tiny:Backbone", num_classes=12, width=0.125)
    kernels = 33 * 64 + 5 * 64 * 128 + 9 * 8 + 8 * 512 + 512 * 12
    channels = 64 + 128 + 8  # with a scale, an offset, a mean and a variance each
    biases = 512 + 12
    expected = 4 * (kernels + biases + 2 * channels + 3 * channels + 1)
    assert collectives.expected_bytes(shapes(model)) == expected


@pytest.mark.slow
def test_no_option_moves_examples_between_devices():
    found = measure(8, EVERYTHING, Teaching(Distillation(True)))
    assert set(found["collectives"]) == {"all-reduce"}
    # The rounds of microbatches are a loop, whose body counts once.
    assert found["bytes"] == pytest.approx(found["expected_bytes"], rel=0.1)


def test_a_network_that_teaches_moves_nothing():
    network = models.create("tests.tiny:Backbone", num_classes=12, width=0.25)
    teaching = Teaching(Distillation(True, network), shapes(network).weights)
    found = measure(8, AS_IT_COMES | {"distill.teacher_weight": 0.9}, teaching)
    assert set(found["collectives"]) == {"all-reduce"}
    assert found["bytes"] == found["expected_bytes"]


def test_a_row_for_each_model_and_number_of_devices(monkeypatch, capsys):
    commands = []

    def run(command, *, env, **_):
        commands.append((command[-2:], env["XLA_FLAGS"][-1]))
        row = '{"devices": 2, "collectives": {"all-reduce": 3}, "bytes": 8, '
        row += '"expected_bytes": 8}'
        return subprocess.CompletedProcess(command, 0, stdout=row)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(collectives, "DEVICES", (2, 4))
    rows = collectives.run(repeats=1)
    assert [row["model"] for row in rows] == ["aemnet_dw"] * 2 + ["aemresnet"] * 2
    assert commands[1] == (["benchmarks.collectives", "aemnet_dw"], "4")
    assert capsys.readouterr().out.count("8 bytes; expected 8") == 4


def test_the_config_is_the_published_one_made_small():
    config, published = collectives.small("aemresnet"), aemresnet_audioset.get_config()
    assert config.augment == published.augment
    assert config.optimizer == published.optimizer
