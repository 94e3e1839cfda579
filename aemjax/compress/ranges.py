"""Ranges of activations, as audio shows them: integers without training for them."""

from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float

from aemjax.models import AemNet
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.models.numerics import Rounding

PyTree = Any

SHORT = jax.ShapeDtypeStruct((1, FRAME_SAMPLES), jnp.float32)


def observe(
    model: AemNet, params: PyTree, batches: Iterable[Float[np.ndarray, "_b _t"]]
) -> PyTree:
    """The "batch_stats" of a network of integers: the largest magnitude at each point.

    Args:
      model: in numerics "int8".
      params: folded (`aemjax.compress.folding`), not rounded.
      batches: standardised audio; each length compiles once.

    Raises:
      ValueError: if there is no batch.
    """

    shapes = jax.eval_shape(model.init, jax.random.key(0), SHORT)["batch_stats"]

    @jax.jit
    def largest(params, audio):
        found = {}

        def note(call, args, kwargs, context):
            if isinstance(context.module, Rounding):
                found[context.module.path] = abs(args[0]).max().astype(jnp.float32)
            return call(*args, **kwargs)

        # With limits of zero nothing is rounded.
        start = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
        with nn.intercept_methods(note):
            model.apply({"params": params, "batch_stats": start}, audio)
        return found

    seen: dict[tuple[str, ...], Array] = {}
    for audio in batches:
        for path, value in largest(params, audio).items():
            seen[path] = max(seen.get(path, 0.0), float(value))
    if not seen:
        raise ValueError("there is no audio to find the ranges of activations on")
    return unflatten_dict({(*p, "limit"): np.float32(x) for p, x in seen.items()})
