"""Rounding to what integers of 8 bits hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from aemjax.compress.ranges import observe
from aemjax.models import create
from aemjax.models.numerics import Rounding, kernel_step, round_kernel
from tests.aemjax.models.networks import clips, quick_jit, random_variables, shapes_of


def test_a_kernel_has_whole_steps_of_each_output_channel():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 4, 5)).astype(np.float32)
    kernel[..., 2] = 0
    kernel[0, 0, 0, :] = 0
    step = np.asarray(kernel_step(kernel))
    largest = abs(kernel).max(axis=(0, 1, 2))
    np.testing.assert_allclose(step, np.where(largest > 0, largest / 127, 1), rtol=1e-6)
    rounded = np.asarray(round_kernel(jnp.asarray(kernel)))
    whole = rounded / step
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-4)
    assert abs(whole).max() == pytest.approx(127)
    assert (abs(rounded - kernel) <= step / 2 + 1e-6).all()
    assert not rounded[kernel == 0].any()
    # What is rounded stays as it is: an engine that rounds again changes nothing.
    np.testing.assert_allclose(round_kernel(jnp.asarray(rounded)), rounded, rtol=1e-6)


def test_gradients_pass_as_if_nothing_was_rounded():
    kernel = jnp.asarray([[0.3, -1.0], [1.27, 0.011]])
    weights = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    grad = jax.grad(lambda x: (round_kernel(x) * weights).sum())(kernel)
    np.testing.assert_allclose(grad, weights, rtol=1e-6)


@pytest.mark.parametrize(
    ("signed", "expected", "passes"),
    [
        (False, [0.0, 0.0, 102 * 5.1 / 255, 5.1], [0, 0.5, 1, 0]),
        (True, [-5.1, -0.0, 51 * 5.1 / 127, 5.1], [0, 1, 1, 0]),
    ],
)
def test_activations_are_rounded_within_their_range(signed, expected, passes):
    module = Rounding("int8", signed=signed)
    variables = {"batch_stats": {"limit": jnp.float32(5.1)}}
    x = jnp.asarray([-7.0, 0.0, 2.04, 9.0])
    apply = functools.partial(module.apply, variables, train=False)
    np.testing.assert_allclose(apply(x), expected, rtol=1e-5)
    grad = jax.grad(lambda x: apply(x).sum())(x)
    np.testing.assert_allclose(grad, passes, atol=1e-6)


def test_ranges_begin_with_the_first_batch_and_follow_the_next():
    module = Rounding("int8")
    variables = module.init(jax.random.key(0), jnp.ones(3), train=False)
    x = jnp.asarray([1.0, 4.0, 2.0])
    np.testing.assert_array_equal(module.apply(variables, x, train=False), x)
    train = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    _, variables = train(variables, x)
    assert variables["batch_stats"]["limit"] == 4
    _, variables = train(variables, 2 * x)
    assert variables["batch_stats"]["limit"] == pytest.approx(4 + 0.01 * (8 - 4))


def int8_network(name, limit):
    model = create(name, num_classes=7, width=1 / 16, numerics="int8")
    variables = random_variables(shapes_of(model), gain=1.0)

    def limited(path, x):
        return np.float32(limit) if path[-1].key == "limit" else x

    return model, jax.tree_util.tree_map_with_path(limited, variables)


def test_compiled_it_is_the_same():
    model, variables = int8_network("tests.tiny:Backbone", 6.0)
    audio = clips(800)
    eager = model.apply(variables, audio)[0]
    compiled = quick_jit(model.apply)(variables, audio)[0]
    step = 6.0 / 127  # a sum on the edge may be rounded to either side
    np.testing.assert_allclose(compiled, eager, atol=2 * step)
    assert np.mean(abs(compiled - eager)) < 0.3 * step
    whole = np.asarray(eager) / step
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-3)


def test_padding_changes_no_score():
    model, variables = int8_network("aemnet_dw", 6.0)
    apply = quick_jit(model.apply)
    audio = clips(1600)
    short = audio[:, :960]
    padded = audio.at[:, 960:].set(0)
    alone = apply(variables, short)[0]
    batch = apply(variables, padded, jnp.asarray([960, 960]))[0]
    np.testing.assert_allclose(batch, alone, atol=6.0 / 127)
    assert np.mean(abs(batch - alone)) < 0.3 * 6.0 / 127


def test_observed_ranges_are_the_mean_of_the_largest_activations():
    model, variables = int8_network("tests.tiny:Backbone", 0.0)
    params = variables["params"]
    batches = [np.asarray(clips(800, seed=seed)) for seed in (1, 2)]
    found = flatten_dict(observe(model, params, batches))
    assert set(found) == set(flatten_dict(variables["batch_stats"]))
    largest = np.mean([float(abs(audio).max()) for audio in batches])
    assert found["frontend", "conv1_in", "limit"] == pytest.approx(largest)
    # Nothing is rounded yet: these are those of the folded network.
    apply = quick_jit(model.apply)
    logits = [apply(variables, audio)[0] for audio in batches]
    expected = np.mean([float(abs(x).max()) for x in logits])
    assert found["head", "dense_out", "limit"] == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="unknown numerics 'int4'; known: float, fold"):
        create("aemnet", num_classes=2, numerics="int4")
    with pytest.raises(ValueError, match="'mfcc' knows of no numerics 'int8'"):
        create("aemnet", num_classes=2, frontend="mfcc", numerics="int8")
    with pytest.raises(ValueError, match="bfloat16 holds no steps of int8 kernels"):
        create("aemnet", num_classes=2, dtype="bfloat16", numerics="int8")
