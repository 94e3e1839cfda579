"""BatchNorm folded into the convolutions before it: the network that engines run."""

import re
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from aemjax.models.layers import BATCH_NORM_EPSILON

PyTree = Any
Path = tuple[str, ...]


def convolution_of(batch_norm: Path) -> Path:
    """The path of the convolution before a BatchNorm: bn3 -> conv3, x_bn -> x."""
    name = re.sub(r"^bn", "conv", batch_norm[-1]).removesuffix("_bn")
    return (*batch_norm[:-1], name)


def fold(variables: PyTree) -> PyTree:
    """Parameters of the same network in numerics "folded" or "int8".

    Zeros of kernels stay zero. In evaluation the outputs are the same, to rounding.

    Args:
      variables: {"params", "batch_stats"} of a network in numerics "float".

    Raises:
      ValueError: if there is no BatchNorm in it.
    """
    params = _float64(variables["params"])
    statistics = _float64(variables["batch_stats"])
    means = [path[:-1] for path in statistics if path[-1] == "mean"]
    if not means:
        raise ValueError("the network has no BatchNorm to fold: was that done already?")
    for norm in means:
        convolution = convolution_of(norm)
        deviation = np.sqrt(statistics[*norm, "var"] + BATCH_NORM_EPSILON)
        factor = params.pop((*norm, "scale")) / deviation
        shift = params.pop((*norm, "bias")) - statistics[*norm, "mean"] * factor
        params[*convolution, "kernel"] *= factor
        params[*convolution, "bias"] = shift
    return unflatten_dict({path: x.astype(np.float32) for path, x in params.items()})


def _float64(tree: PyTree) -> dict[Path, np.ndarray]:
    return {path: np.array(x, np.float64) for path, x in flatten_dict(tree).items()}
