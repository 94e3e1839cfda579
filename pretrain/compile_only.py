"""Compiles the step of a config for chips that are not here, and says what it costs."""

import dataclasses

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aemjax import models
from aemjax.audio.read import SAMPLE_RATE
from aemjax.train import compiled, losses, sharding
from aemjax.train.recipe import Recipe
from pretrain.train import Teaching, make_recipe, open_teaching


def compile_only(config: ConfigDict, topology: str) -> compiled.Cost:
    """The cost of a step on a TPU slice such as "v5e:4x4"; data is not needed.

    Raises:
      ValueError: on a config that does not fit, or without `jax[tpu]`.
    """
    return step_cost(config, compiled.tpu_mesh(topology))


def step_cost(
    config: ConfigDict, mesh: Mesh, teaching: Teaching | None = None
) -> compiled.Cost:
    """The cost of a step on a mesh.

    Args:
      teaching: of `step_recipe`.

    Raises:
      ValueError: on a config that does not fit.
    """
    plan = step_recipe(config, mesh, teaching)
    batch = compiled.batch_shapes(
        config.train.batch_size,
        round(config.data.crop_s * SAMPLE_RATE),
        config.model.num_classes,
        taught=bool(config.distill.logits),
    )
    return compiled.cost(plan.train_step.compile(plan.state_shapes, batch).compiled)


def step_recipe(
    config: ConfigDict, mesh: Mesh, teaching: Teaching | None = None
) -> Recipe:
    """How the config trains, whatever the data.

    Args:
      teaching: in place of the one that the config names, of whose weights there would
        be the shapes alone.

    Raises:
      ValueError: on a config that does not fit.
    """
    sharding.check_batch_size(
        config.train.batch_size,
        mesh,
        paired=config.augment.mixup_alpha > 0,
        microbatches=config.train.microbatches,
    )
    multi_label = config.loss.name not in losses.SINGLE_LABEL
    if teaching is None:
        here = sharding.data_mesh(jax.local_devices()[:1])  # where it is loaded
        loaded = open_teaching(config, multi_label, here)
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), loaded.weights
        )
        teaching = dataclasses.replace(loaded, weights=shapes)
    return make_recipe(
        config,
        models.create(**config.model),
        mesh,
        teaching,
        total_steps=1000,  # has no part in the cost
        multi_label=multi_label,
    )
