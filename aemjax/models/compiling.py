"""How networks are compiled: what XLA is told beside the function."""

from collections.abc import Callable

import jax

# What XLA hands to YNNPACK on a CPU, but for convolutions, for which Eigen takes less time:
# `python -m benchmarks ops`.
ON_A_CPU = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_REDUCE,LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
    )
}


def jit_network(
    function: Callable, platform: str | None = None, **options
) -> jax.stages.Wrapped:
    """`jax.jit` of a function that runs a network.

    Args:
      platform: that it runs on, such as "cpu"; JAX's default, if None.
      options: of `jax.jit`.
    """
    own = ON_A_CPU if (platform or jax.default_backend()) == "cpu" else {}
    return jax.jit(function, compiler_options=own, **options)
