import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.train import optimizer, param_groups, recipe, sharding
from aemjax.train.param_groups import Group
from configs.finetune import own_set
from tests import jobs
from tests.aemjax.train import steps

STAGES = ["frontend", *(f"backbone/stage{n}" for n in range(1, 6)), "embedding", "head"]


def shapes(model):
    audio = jnp.zeros((1, SAMPLE_RATE))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), audio))["params"]


@pytest.fixture(scope="module")
def resnet():
    model = models.create("aemresnet", num_classes=4, width=0.125)
    return model, shapes(model)


def test_every_parameter_needs_a_group_and_every_pattern_a_parameter(resnet):
    _, params = resnet
    with pytest.raises(ValueError, match="no group matches 'backbone/block1/bn1/bias'"):
        param_groups.labels(params, {"head": Group(("head/.*",))})
    with pytest.raises(ValueError, match=r"\['.\*'\] match no parameter, or none"):
        param_groups.labels(params, {"a": Group((".*",)), "b": Group((".*",))})
    with pytest.raises(ValueError, match=r"\['tail/.\*'\] match no parameter, or"):
        param_groups.labels(params, {"a": Group((".*",)), "b": Group(("tail/.*",))})


def test_the_embedder_is_one_group_unless_told_otherwise(resnet):
    model, params = resnet
    groups = param_groups.of_fine_tuning(
        model, params, total_steps=100, lr_fraction=0.1
    )
    assert {name: group.lr_fraction for name, group in groups.items()} == {
        "embedder": 0.1,
        "head": 1.0,
    }
    labels = param_groups.labels(params, groups)
    assert set(jax.tree.leaves(labels["head"])) == {"head"}
    rest = [labels[block] for block in ("frontend", "backbone", "embedding")]
    assert set(jax.tree.leaves(rest)) == {"embedder"}


def test_rates_decay_and_stages_unfreeze_from_the_head_down(resnet):
    model, params = resnet
    groups = param_groups.of_fine_tuning(
        model,
        params,
        total_steps=100,
        lr_fraction=0.5,
        layer_decay=0.5,
        unfreeze_fraction=0.1,
    )
    assert list(groups) == STAGES
    rates = [groups[stage].lr_fraction for stage in STAGES]
    assert rates == [0.5 * 0.5**n for n in (6, 5, 4, 3, 2, 1, 0)] + [1.0]
    assert [groups[stage].start_step for stage in STAGES] == [
        70,
        60,
        50,
        40,
        30,
        20,
        10,
        0,
    ]


def test_a_spectral_front_end_has_a_group_only_if_it_has_parameters():
    model = models.create("aemresnet", num_classes=4, width=0.125, frontend="log_mel")
    groups = param_groups.of_fine_tuning(
        model, {"head": shapes(model)["head"]}, total_steps=9, layer_decay=0.5
    )
    assert list(groups) == ["head"]


def test_groups_of_ones_own(resnet):
    model, params = resnet
    own = {
        "stem": {
            "patterns": ["frontend/.*", "backbone/(conv|bn)3/.*"],
            "lr_fraction": 0,
        },
        "rest": {"patterns": [".*"], "start_fraction": 0.25, "weight_decay": 0.1},
    }
    groups = param_groups.of_fine_tuning(model, params, total_steps=8, groups=own)
    assert groups["stem"].frozen_at(7) and not groups["rest"].frozen_at(2)
    assert groups["rest"].start_step == 2 and groups["rest"].weight_decay == 0.1
    frozen = param_groups.frozen_stages(model, params, groups, 2)
    assert frozen == ("frontend", "backbone/stage1")
    assert param_groups.frozen_stages(model, params, groups, 1) == tuple(STAGES)


def test_groups_are_those_of_the_guide_in_whatever_order(resnet):
    text = (jobs.ROOT / "docs/training.md").read_text()
    (block,) = re.findall(
        r"```python\n(c\.optimizer\.groups = .*?)```", text, re.DOTALL
    )
    c = own_set.get_config("scratch")
    exec(block, {"c": c, "ConfigDict": ConfigDict})
    own = c.optimizer.groups.to_dict()
    assert list(own) == ["head", "rest", "stem"]  # a ConfigDict's order
    model, params = resnet
    groups = param_groups.of_fine_tuning(model, params, total_steps=8, groups=own)
    found = param_groups.labels(params, groups)
    assert set(jax.tree.leaves(found["frontend"])) == {"stem"}
    assert set(jax.tree.leaves(found["backbone"]["conv3"])) == {"stem"}
    assert set(jax.tree.leaves(found["backbone"]["block1"])) == {"rest"}
    assert set(jax.tree.leaves(found["head"])) == {"head"}


def test_a_parameter_of_two_groups_is_refused(resnet):
    _, params = resnet
    groups = {"norms": Group((".*bn.*",), 0.0), "body": Group(("backbone/.*",))}
    with pytest.raises(ValueError, match=r"bn1/bias' is of the groups \['norms', 'bod"):
        param_groups.labels(params, groups | {"rest": Group((".*",))})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0}, "layer_decay is 0, expected 0 < layer_decay <= 1"),
        ({"unfreeze_fraction": 1.0}, "unfreeze_fraction is 1.0, expected 0 <="),
        ({"lr_fraction": -1.0}, "lr_fraction of a group is -1.0, expected 0 or more"),
        (
            {"unfreeze_fraction": 0.15},
            "frontend would begin to train at step 9 of 9; lower",
        ),
        (
            {"groups": {"a": {"patterns": ("(",)}}},
            r"a: '\(' is no regular expression: ",
        ),
        (
            {"groups": {"a": {"patterns": (".*",), "start_fraction": 1.5}}},
            "optimizer.groups.a.start_fraction is 1.5, expected 0 to 1",
        ),
        ({"groups": {"a": {"lr_fraction": 1}}}, "optimizer.groups.a has .*patterns"),
        ({"groups": {"a": {"patterns": (".*",), "lr": 1}}}, r"unknown: \['lr'\]"),
        (
            {"groups": {"a": {"patterns": (".*",)}}, "layer_decay": 0.5},
            "set lr_fraction",
        ),
    ],
)
def test_what_does_not_fit_is_refused(resnet, options, message):
    with pytest.raises(ValueError, match=message):
        param_groups.of_fine_tuning(*resnet, total_steps=9, **options)


def test_a_pattern_may_stand_alone_and_phases_that_are_alike_are_one(resnet):
    model, params = resnet
    own = {
        "head": {"patterns": "head/.*"},
        "late": {
            "patterns": ["frontend/.*"],
            "start_fraction": 0.5,
            "lr_fraction": 0.0,
        },
        "rest": {"patterns": [".*"]},
    }
    groups = param_groups.of_fine_tuning(model, params, total_steps=8, groups=own)
    assert groups["head"].patterns == ("head/.*",)
    ((start, phase),) = param_groups.phases(model, params, groups)
    assert (start, phase.frozen) == (0, ("frontend",))


def test_the_table_has_a_row_for_each_group(resnet):
    model, params = resnet
    options = {"total_steps": 100, "lr_fraction": 0.0}
    groups = param_groups.of_fine_tuning(model, params, **options)
    table = param_groups.table(params, groups, learning_rate=1e-3, weight_decay=2e-4)
    count = sum(x.size for x in jax.tree.leaves(params["head"]))
    head, *_ = (line.split() for line in table.splitlines() if line.startswith("head"))
    assert head == ["head", f"{count:,}", "0.001", "0.0002", "0"]
    total = sum(x.size for x in jax.tree.leaves(params))
    assert f"{total - count:,}          frozen" in table


# What a group does in training.


def test_a_group_starts_as_if_it_had_not_been_there_before():
    """Its moments begin at its first step, its rate is that of the run's schedule."""
    params = {"a": jnp.ones(3), "b": jnp.full(3, 2.0)}
    groups = {"a": Group(("a",), 0.5, start_step=3), "b": Group(("b",), weight_decay=0)}
    rate = optimizer.schedule("cosine", peak=0.1, total_steps=10)
    options = {"weight_decay": 0.3}
    tx = optimizer.create("adam", rate, groups=groups, **options)
    later = optimizer.create("adam", lambda step: 0.5 * rate(step + 3), **options)
    state, own, expected = tx.init(params), None, params["a"]
    rng = np.random.default_rng(0)
    for step in range(6):
        grads = {name: jnp.asarray(rng.normal(size=3), jnp.float32) for name in params}
        updates, state = tx.update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        if step == 3:
            own = later.init(expected)
        if step >= 3:
            moved, own = later.update(grads["a"], own, expected)
            expected = expected + moved
        np.testing.assert_allclose(params["a"], expected, rtol=1e-6)
    found = optimizer.learning_rates(rate, groups, 2)
    assert found == {"a": 0.0, "b": pytest.approx(float(rate(2)))}


@pytest.fixture(scope="module")
def unfreezing():
    """The states of a run of six steps whose embedder trains from step 3 on."""
    model = steps.tiny()
    plan = recipe.create(
        model,
        sharding.data_mesh(),
        seed=0,
        total_steps=6,
        num_classes=steps.CLASSES,
        multi_label=True,
        crop_samples=steps.SAMPLES,
        optimizer_options={"name": "adam", "learning_rate": 0.01, "weight_decay": 0.1},
        schedule_options={"name": "constant"},
        augment_options={"mixup_alpha": 0.0, "mixup_start_fraction": 0.0},
        loss_options={"name": "bce"},
        groups={
            "embedder": Group(("(frontend|backbone|embedding)/.*",), 0.1, start_step=3),
            "head": Group(("head/.*",)),
        },
    )
    _, split = sharding.shardings(sharding.data_mesh())
    state = plan.create_state()
    states, norms = [jax.device_get(state)], []
    for seed in range(6):
        batch = sharding.global_batch(steps.a_batch(seed=seed), split)
        state, scalars = plan.train_step(state, batch)
        states.append(jax.device_get(state))
        norms.append(float(scalars["grad_norm"]))
    return states, norms


@pytest.mark.parametrize("block", ["frontend", "backbone"])
def test_frozen_stages_keep_parameters_and_statistics_until_they_start(
    unfreezing, block
):
    states, _ = unfreezing
    for part in ("params", "batch_stats"):
        before = getattr(states[0], part)[block]
        for state in states[1:4]:
            same = getattr(state, part)[block]
            jax.tree.map(np.testing.assert_array_equal, same, before)
        after = getattr(states[4], part)[block]
        moved = jax.tree.map(lambda x, y: np.abs(x - y).max() > 0, after, before)
        assert all(jax.tree.leaves(moved))


def test_the_head_trains_all_along_and_counts_alone_until_then(unfreezing):
    states, norms = unfreezing
    kernels = [state.params["head"]["dense"]["kernel"] for state in states]
    for before, after in zip(kernels, kernels[1:], strict=False):
        assert not np.array_equal(before, after)
    assert np.isfinite(norms).all() and min(norms) > 0


def test_operations_leave_out_the_gradient_of_what_is_frozen():
    whole = models.create("aemnet_dw", num_classes=3, width=0.125)
    frozen = whole.clone(frozen=("frontend", "backbone/stage1"))
    macs = models.summarize(whole, n_samples=SAMPLE_RATE).macs
    own = sum(
        count
        for block, count in macs.items()
        if block.startswith(("frontend/", "backbone/conv3"))
    )
    everything, rest = (
        recipe.training_flops(model, n_samples=SAMPLE_RATE) for model in (whole, frozen)
    )
    assert everything == 6 * sum(macs.values())
    assert everything - rest == 4 * own > 0
