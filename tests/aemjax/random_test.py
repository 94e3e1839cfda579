import itertools

import jax
import jax.numpy as jnp
import numpy as np

from aemjax.random import stream_key

SEEDS = (0, 1, 2, 1_000)
STREAMS = ("dropout", "gain", "noise", "mixup", "init")
STEPS = (0, 1, 2, 1_000, 2**31 - 1)


def data(*triple):
    return tuple(jax.random.key_data(stream_key(*triple)).tolist())


def test_seeds_streams_and_steps_give_distinct_keys():
    triples = list(itertools.product(SEEDS, STREAMS, STEPS))
    assert len({data(*triple) for triple in triples}) == len(triples)


def test_same_triple_gives_the_same_key():
    assert data(3, "gain", 7) == data(3, "gain", 7)


def test_keys_do_not_change_between_releases():
    # CRC-32 of the name; Python's hash would differ from process to process.
    key = jax.random.fold_in(jax.random.key(3), 0xD0952D00)
    key = jax.random.fold_in(key, 7)
    assert data(3, "gain", 7) == tuple(jax.random.key_data(key).tolist())


def test_traced_step_gives_the_key_of_the_python_int():
    traced = jax.jit(lambda step: jax.random.key_data(stream_key(3, "gain", step)))
    for step in STEPS:
        np.testing.assert_array_equal(traced(jnp.int32(step)), data(3, "gain", step))
        assert data(3, "gain", jnp.int32(step)) == data(3, "gain", step)


def test_draws_of_neighbouring_steps_and_streams_are_uncorrelated():
    keys = [(3, "gain", 7), (3, "gain", 8), (3, "noise", 7), (4, "gain", 7)]
    draws = np.stack([jax.random.normal(stream_key(*k), (10_000,)) for k in keys])
    correlation = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(correlation).max() < 0.05
