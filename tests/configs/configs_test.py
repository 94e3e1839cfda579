"""Every shipped experiment: traced at full size, and run for steps on a tiny model."""

import functools
import importlib
import inspect
import json

import jax
import jax.numpy as jnp
import pytest

import finetune.train
import pretrain.train
from aemjax import models
from aemjax.audio.augment import Augment
from aemjax.train import losses, optimizer
from aemjax.train.state import TrainState
from aemjax.train.step import train_step
from tests.jobs import ROOT

VARIANTS = {"esc50": ("pretrained", "scratch"), "demo": ("pretrained", "scratch")}

EXPERIMENTS = [
    (path.parent.name, path.stem, variant)
    for path in sorted((ROOT / "configs").glob("*/*.py"))
    for variant in (VARIANTS[path.stem] if path.parent.name == "finetune" else (None,))
]


def get_config(job, name, variant):
    module = importlib.import_module(f"configs.{job}.{name}")
    assert f"configs/{job}/{name}.py" in inspect.getdoc(module)  # its command
    config = module.get_config(variant) if variant else module.get_config()
    json.dumps(config.to_dict())
    return config.lock()


@pytest.mark.parametrize(("job", "name", "variant"), EXPERIMENTS)
def test_traces_at_full_size(job, name, variant):
    config = get_config(job, name, variant)
    model = models.create(**config.model)
    fraction = config.optimizer.get("lr_fraction", 1.0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 1600))))
    rate = optimizer.schedule(
        config.schedule.name, peak=config.optimizer.learning_rate, total_steps=9
    )
    tx = optimizer.create(
        config.optimizer.name,
        rate,
        weight_decay=config.optimizer.weight_decay,
        groups=optimizer.embedder_groups(sorted(shapes["params"]), fraction),
    )
    augment = config.augment.to_dict()
    augment.pop("mixup_start_fraction")
    step = functools.partial(
        train_step,
        model=model,
        tx=tx,
        augment=Augment(**augment),
        loss_fn=losses.get(config.loss.name, multi_label=False),
        seed=config.seed,
    )
    rows, samples = config.train.batch_size, round(config.data.crop_s * 16_000)

    def run(params, batch_stats, batch):
        state = TrainState(jnp.int32(0), params, batch_stats, tx.init(params))
        return step(state, batch)

    array = jax.ShapeDtypeStruct
    batch = {
        "audio": array((rows, samples), jnp.int16),
        "mean": array((rows,), jnp.float32),
        "std": array((rows,), jnp.float32),
        "labels": array((rows, config.model.num_classes), jnp.float32),
    }
    state, scalars = jax.eval_shape(run, shapes["params"], shapes["batch_stats"], batch)
    assert jax.tree.map(jnp.shape, state.params) == jax.tree.map(
        jnp.shape, shapes["params"]
    )
    assert scalars["loss"].shape == ()


@pytest.mark.parametrize(("job", "name", "variant"), EXPERIMENTS)
def test_runs_on_a_tiny_model(
    job, name, variant, tmp_path, audioset, esc50, pretrained
):
    config = get_config(job, name, variant)
    train = {"pretrain": pretrain.train.train, "finetune": finetune.train.train}[job]
    on_audioset = config.loss.name == "bce"
    with config.unlocked():
        config.model.update(
            name="tests.tiny:Backbone",
            frontend="llf1",
            width=1.0,
            num_classes=12 if on_audioset else 10,
        )
        config.data.update(
            path=str(audioset if on_audioset else esc50), crop_s=0.25, threads=1
        )
        if job == "pretrain" and not on_audioset:
            config.data.update(train="full:1,2", eval="full:3")
        if job == "finetune":
            config.data.fold = 1
            config.init_from = str(pretrained) if variant == "pretrained" else ""
        config.train.update(batch_size=16, epochs=0.4)
        config.eval.update(batch_size=16)
    results = train(config, tmp_path / "run")
    run = (
        results["runs"][0]["last"]["metrics"] if job == "finetune" else results["last"]
    )
    assert 0 <= run[config.checkpoint.metric] <= 1


def test_an_unknown_variant_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown variant 'frozen'; known: pretrained"):
        importlib.import_module("configs.finetune.esc50").get_config("frozen")
