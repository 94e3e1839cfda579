import re

import jax
import jax.numpy as jnp
import pytest

from aemjax import models
from aemjax.models.compiling import jit_network
from aemjax.train import sharding, step
from tests.aemjax.models.networks import random_variables, shapes_of

IMAGE = jnp.ones((4, 50, 64, 64))
KERNEL, MATRIX = jnp.ones((3, 3, 64, 128)), jnp.ones((128, 64))


def all_kinds(image, kernel, matrix):
    order = ("NHWC", "HWIO", "NHWC")
    channels = jax.lax.conv_general_dilated(
        image, kernel, (1, 1), "SAME", dimension_numbers=order
    )
    return jnp.tanh(channels) @ matrix, image.sum((0, 1, 2))


def in_ynnpack(compiled, operation):
    text = compiled.as_text()
    handed = re.findall(r" fusion\(.*kind=kCustom, calls=(%\S+),.*__ynn_fusion", text)
    parts = [part.strip() for part in text.split("\n\n")]
    return sum(
        part.startswith(f"{name} ") and f" {operation}(" in part
        for part in parts
        for name in handed
    )


@pytest.mark.parametrize(
    ("jit", "convolutions"),
    [
        (jax.jit, 1),
        (lambda function: jit_network(function, "tpu"), 1),
        (lambda function: jit_network(function, "cpu"), 0),
        (jit_network, 0),
    ],
    ids=["by XLA's choice", "of another platform", "of a CPU", "of the default one"],
)
def test_a_cpu_s_convolutions_are_eigen_s(jit, convolutions):
    compiled = jit(all_kinds).lower(IMAGE, KERNEL, MATRIX).compile()
    assert in_ynnpack(compiled, "convolution") == convolutions
    assert in_ynnpack(compiled, "dot") == 1
    # All else stays as XLA has it.
    assert in_ynnpack(compiled, "reduce") == 1


def test_scoring_is_compiled_so():
    model = models.create("aemresnet", num_classes=3, width=0.25)
    mesh = sharding.data_mesh()
    count = mesh.devices.size
    batch = {
        "audio": jax.ShapeDtypeStruct((8 * count, 16_000), jnp.int16),
        **{
            key: jax.ShapeDtypeStruct((8 * count,), dtype)
            for key, dtype in {"lengths": "int32", "mean": "f4", "std": "f4"}.items()
        },
    }
    weights = random_variables(shapes_of(model))
    arguments = weights["params"], weights["batch_stats"], batch
    compiled = step.jit_eval_step(mesh, model=model).lower(*arguments).compile()
    assert in_ynnpack(compiled, "convolution") == 0
    assert "convolution(" in compiled.as_text()
