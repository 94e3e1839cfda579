"""Ranges of activations, as audio shows them: integers without training for them."""

from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Float

from aemjax.models import AemNet
from aemjax.models.compiling import jit_network
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.models.numerics import Rounding

PyTree = Any

SHORT = jax.ShapeDtypeStruct((1, FRAME_SAMPLES), jnp.float32)


def observe(
    model: AemNet, params: PyTree, batches: Iterable[Float[np.ndarray, "_b _t"]]
) -> PyTree:
    """The "batch_stats" of a network of integers: how large activations are at each point.

    That is the mean over batches of their largest magnitude, as in training it is a
    running average: the largest of all would leave few steps to most.

    Args:
      model: in numerics "int8".
      params: folded (`aemjax.compress.folding`), not rounded.
      batches: standardised audio; each length compiles once.

    Raises:
      ValueError: if there is no batch.
    """

    shapes = jax.eval_shape(model.init, jax.random.key(0), SHORT)["batch_stats"]

    @jit_network
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

    seen = [jax.device_get(largest(params, audio)) for audio in batches]
    if not seen:
        raise ValueError(
            "there is no audio to find the ranges of activations on; name a prepared set "
            "by --data"
        )
    means = jax.tree.map(lambda *x: np.float32(np.mean(x)), *seen)
    return unflatten_dict({(*path, "limit"): mean for path, mean in means.items()})
