import re

import jax
import numpy as np
import optax
import pytest

from aemjax.models import summarize
from aemjax.train import recipe, sharding
from aemjax.train.distill import Distillation
from aemjax.train.param_groups import Group
from tests.aemjax.train import steps

OPTIONS = {
    "optimizer_options": {"name": "adam", "learning_rate": 0.1, "weight_decay": 0.0},
    "schedule_options": {"name": "cosine", "warmup_fraction": 0.0},
    "augment_options": {
        "gain_db": 0.0,
        "noise_probability": 0.0,
        "mixup_alpha": 0.4,
        "mixup_start_fraction": 0.25,
    },
    "loss_options": {"name": "bce", "label_smoothing": 0.0},
}


def make(**changes):
    options = OPTIONS | {"seed": 0, "total_steps": 20, "multi_label": True} | changes
    return recipe.create(
        steps.tiny(),
        sharding.data_mesh(),
        num_classes=steps.CLASSES,
        crop_samples=steps.SAMPLES,
        **options,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"remat": "all"}, "unknown remat 'all'; known: ['none', 'conv', 'block']"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0, expected 0 <= ema_decay < 1"),
        ({"ema_decay": -0.1}, "ema_decay is -0.1, expected 0 <= ema_decay < 1"),
        (
            {"loss_options": {"name": "bce", "gamma": 1}},
            "loss 'bce': got an unexpected keyword argument 'gamma'",
        ),
        (
            {
                "loss_options": {"name": "focal", "gamma": 1, "alpha": (1, 1)},
                "multi_label": False,
            },
            "alpha has 2 numbers, the model 5 classes",
        ),
        (
            {"schedule_options": {"name": "cosine", "warmup_fraction": 2}},
            "warmup_fraction is 2, expected",
        ),
        (
            {"augment_options": OPTIONS["augment_options"] | {"gain_db": -6}},
            "gain_db is -6, expected 0 or more",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(**changes)


def test_rates_are_those_of_the_last_update():
    embedder = Group(("(frontend|backbone|embedding)/.*",), 0.5)
    plan = make(groups={"embedder": embedder, "head": Group(("head/.*",))})
    rate = 0.1 * (1 + np.cos(np.pi * 4 / 20)) / 2  # the fifth update is that of step 4
    assert plan.rates(5) == pytest.approx({"lr/embedder": 0.5 * rate, "lr/head": rate})


def test_operations_are_three_forward_passes_and_one_of_a_teacher():
    own = summarize(steps.tiny(), n_samples=steps.SAMPLES).total_macs
    assert make().flops_per_clip == 3 * 2 * own
    network = steps.tiny(width=0.25)
    taught = make(distillation=Distillation(True, network))
    theirs = summarize(network, n_samples=steps.SAMPLES).total_macs
    assert taught.flops_per_clip == 3 * 2 * own + 2 * theirs
    stored = make(distillation=Distillation(True))
    assert stored.flops_per_clip == 3 * 2 * own


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_shapes_are_those_of_the_state(ema_decay):
    plan = make(ema_decay=ema_decay)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), plan.state_shapes)
    state = plan.create_state()
    assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert (state.ema is not None) == (ema_decay > 0)


def test_the_options_reach_the_step():
    """Mixup from the sixth step on, smoothing, clipping, an average of weights."""
    plan = make(
        loss_options={"name": "bce", "label_smoothing": 0.2},
        optimizer_options={
            "name": "adamw",
            "learning_rate": 0.1,
            "weight_decay": 0.3,
            "clip_norm": 1e-30,  # leaves Adam nothing: its epsilon is larger
        },
        ema_decay=0.75,
    )
    replicated, split = sharding.shardings(sharding.data_mesh())
    batch = steps.a_batch()
    start = jax.device_get(plan.create_state())
    logits, _ = steps.forward(steps.tiny(), start.params, start.batch_stats, batch)
    expected = optax.sigmoid_binary_cross_entropy(logits, 0.8 * batch["labels"] + 0.1)

    def update(step):
        state = start.replace(step=np.int32(step))
        state = jax.device_put(state, replicated)
        state, scalars = plan.train_step(state, sharding.global_batch(batch, split))
        return jax.device_get(state), float(scalars["loss"])

    after, plain = update(4)
    _, mixed = update(5)
    assert plain == pytest.approx(float(expected.mean()), rel=1e-5)
    assert abs(mixed - plain) > 1e-4

    def decayed(x):
        return x * (1 - 0.3 * 0.1) if x.ndim > 1 else x  # the first rate

    steps.assert_close(
        after.params, jax.tree.map(decayed, start.params), rtol=1e-5, atol=1e-7
    )
    average = jax.tree.map(
        lambda old, new: 0.75 * old + 0.25 * new, start.params, after.params
    )
    steps.assert_close(after.ema, average, rtol=1e-5, atol=1e-6)
