"""Randomness as a function of (seed, stream, step); no key is ever carried."""

import zlib

import jax
from jaxtyping import Array, Int, Integer


def stream_key(
    seed: int | Integer[Array, ""], stream: str, step: int | Int[Array, ""]
) -> jax.Array:
    """The key of one stream ("dropout", "gain", ...) at one step.

    Two streams never share a key, and a resumed run draws what the unbroken one would.
    """
    name = zlib.crc32(stream.encode())
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), name), step)
