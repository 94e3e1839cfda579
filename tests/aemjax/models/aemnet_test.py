"""The forward pass, and what padding leaves alone."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.models import frontends
from tests.aemjax.models import reference
from tests.aemjax.models.networks import (
    BACKBONES,
    LLFS,
    NETWORKS,
    NUM_CLASSES,
    assert_outputs_close,
    clips,
    front_end_variables,
    network,
    paths,
    quick_jit,
    with_statistics,
)

# The forward pass.


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("frontend", "n_samples"),
    [("llf1", 800), ("llf1", 4_800), ("llf2", 16_000), ("llf1", 59_200)],
)
def test_forward_equals_the_numpy_reference(name, frontend, n_samples):
    net = network(name, frontend=frontend)
    audio = clips(n_samples)
    logits, aux = net.apply(audio)
    assert logits.shape == (2, NUM_CLASSES) and aux["embedding"].shape == (2, 512)
    assert 0.1 < np.abs(logits).max() < 20  # else 1e-4 would say little
    expected = reference.forward(
        net.variables, audio, backbone=BACKBONES[name], llf=LLFS[frontend]
    )
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=1e-4)
    assert_outputs_close((logits, aux), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("frontend", "kernels", "llf"),
    [
        ("llf1", ((33, 1, 64), (5, 64, 128)), (16, 2, 5)),
        ("llf2", ((9, 1, 64), (5, 64, 128)), (4, 4, 10)),
        ("llf-fast", ((33, 1, 64), (10, 64, 128)), (16, 2, 5)),
        ("8,10,3,4", ((8, 1, 64), (3, 64, 128)), (10, 4, 4)),
        ("1,160,1,1", ((1, 1, 64), (1, 64, 128)), (160, 1, 1)),
    ],
)
def test_front_end_equals_the_numpy_reference(frontend, kernels, llf):
    module = frontends.LLF(**frontends.llf_sizes(frontend))
    audio = clips(2_077)  # no whole number of frames
    variables = front_end_variables(module, audio)
    params = variables["params"]
    assert tuple(params[c]["kernel"].shape for c in ("conv1", "conv2")) == kernels
    apply = quick_jit(functools.partial(module.apply, train=False))
    got, valid = apply(variables, audio)
    assert valid is None
    expected = reference.low_level_features(with_statistics(variables), audio, llf)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_kernel_shapes(name):
    got = {k: x.shape for k, x in paths(network(name).variables["params"]).items()}
    expected = {
        "aemnet": {
            "backbone/conv3/kernel": (3, 3, 1, 8),
            "backbone/conv4/kernel": (3, 3, 8, 16),
            "backbone/conv10/kernel": (3, 3, 64, 128),
            "backbone/conv11/kernel": (3, 3, 128, 512),
            "head/dense/kernel": (512, NUM_CLASSES),
        },
        "aemnet_dw": {
            "backbone/conv3/depthwise/kernel": (3, 3, 1, 1),
            "backbone/conv3/pointwise/kernel": (1, 1, 1, 8),
            "backbone/conv11/depthwise/kernel": (3, 3, 1, 128),
            "backbone/conv11/pointwise/kernel": (1, 1, 128, 128),
            "embedding/kernel": (128, 512),
            "head/dense/kernel": (512, NUM_CLASSES),
        },
        "aemresnet": {
            "backbone/conv3/kernel": (3, 3, 1, 16),
            "backbone/block1/conv1/kernel": (3, 3, 16, 16),
            "backbone/block7/conv1/kernel": (3, 3, 64, 128),
            "backbone/block7/projection/kernel": (1, 1, 64, 128),
            "backbone/block8/conv2/kernel": (3, 3, 128, 128),
            "embedding/kernel": (128, 512),
            "head/dense/kernel": (512, NUM_CLASSES),
        },
    }[name]
    assert {k: got[k] for k in expected} == expected


# Padding.


@pytest.mark.parametrize("name", NETWORKS)
def test_padded_clips_score_as_alone(name):
    net = network(name, frontend="llf1")
    lengths = np.array([800, 800, 4_800, 4_800])
    batch = 100 * np.array(clips(8_000, rows=4))  # garbage
    alone = []
    for rows, n_samples in ((slice(0, 2), 800), (slice(2, 4), 4_800)):
        audio = clips(n_samples)
        batch[rows, :n_samples] = audio
        logits, aux = net.apply(audio)
        alone.append({"logits": logits, **aux})
    expected = {k: np.concatenate([one[k] for one in alone]) for k in alone[0]}
    assert_outputs_close(
        net.apply(jnp.asarray(batch), jnp.asarray(lengths)), expected, atol=1e-5
    )


@pytest.mark.parametrize("frontend", ["llf1", "llf2"])
def test_padded_front_end_at_any_length(frontend):
    module = frontends.LLF(**frontends.llf_sizes(frontend))
    lengths = [160, 161, 319, 320, 1_000, 1_599, 1_600]
    batch = np.array(clips(1_600, rows=len(lengths), seed=1))
    for row, n_samples in zip(batch, lengths, strict=True):
        row[n_samples:] *= 100
    variables = front_end_variables(module, jnp.asarray(batch))
    apply = quick_jit(functools.partial(module.apply, train=False))
    features, valid = apply(variables, jnp.asarray(batch), jnp.asarray(lengths))
    tree = with_statistics(variables)
    for i, n_samples in enumerate(lengths):
        alone = batch[i : i + 1, :n_samples]
        expected = reference.low_level_features(tree, alone, LLFS[frontend])[0]
        assert valid[i] == len(expected)
        np.testing.assert_allclose(
            features[i, : valid[i]], expected, rtol=1e-5, atol=1e-5
        )
        assert not features[i, valid[i] :].any()
