import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax import models
from tests.aemjax.train.steps import HASTY

STAGES = ["frontend", *(f"backbone/stage{n}" for n in range(1, 6)), "embedding", "head"]
NETWORKS = ["aemnet", "aemnet_dw", "aemresnet"]
AUDIO = np.random.default_rng(0).normal(size=(2, 800)).astype(np.float32)


def paths(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_of_one_stage(name):
    model = models.create(name, num_classes=4, width=0.125)
    wanted = [x for x in STAGES if x != "embedding" or name != "aemnet"]
    stages = models.stages(model)
    assert list(stages) == wanted
    params = jax.eval_shape(model.init, jax.random.key(0), AUDIO)["params"]
    found = [
        [stage for stage, pattern in stages.items() if re.fullmatch(pattern, path)]
        for path in jax.tree.leaves(
            jax.tree_util.tree_map_with_path(
                lambda path, _: jax.tree_util.keystr(path, simple=True, separator="/"),
                params,
            )
        )
    ]
    assert all(len(own) == 1 for own in found)
    assert {own[0] for own in found} == set(wanted)


def test_a_backbone_without_stages_is_one():
    model = models.create("tests.tiny:Backbone", num_classes=3, width=0.125)
    wanted = ["frontend", "backbone", "embedding", "head"]
    assert list(models.stages(model)) == wanted


@pytest.mark.parametrize(
    "name", ["aemnet", pytest.param("aemnet_dw", marks=pytest.mark.slow), "aemresnet"]
)
def test_frozen_stages_alone_keep_their_statistics_and_have_no_gradient(name):
    model = models.create(name, num_classes=3, width=0.125, dropout=0.0)
    model = model.clone(frozen=("frontend", "backbone/stage1", "backbone/stage4"))

    @functools.partial(jax.jit, compiler_options=HASTY)
    def grads_and_statistics(key):
        variables = model.init(key, jnp.zeros((1, 800)))

        def loss(params):
            params = models.stop_frozen(model, params)
            (logits, _), new = model.apply(
                variables | {"params": params}, AUDIO, train=True, mutable="batch_stats"
            )
            return (logits**2).sum(), new["batch_stats"]

        grads, after = jax.grad(loss, has_aux=True)(variables["params"])
        return grads, variables["batch_stats"], after

    grads, before, after = map(paths, grads_and_statistics(jax.random.key(0)))
    patterns = [models.stages(model)[stage] for stage in model.frozen]

    def is_frozen(path):
        return any(re.fullmatch(pattern, path) for pattern in patterns)

    for path, gradient in grads.items():
        assert (np.abs(gradient).max() == 0) == is_frozen(path), path
    for path, old in before.items():
        assert np.array_equal(old, after[path]) == is_frozen(path), path
    assert {is_frozen(path) for path in before} == {False, True}
