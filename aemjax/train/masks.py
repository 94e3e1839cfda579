"""Masks of pruned parameters: a tree of booleans, False where a parameter stays zero."""

from typing import Any

import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

PyTree = Any


def apply_masks(tree: PyTree, masks: PyTree | None) -> PyTree:
    """A tree with zeros where the masks have False.

    Args:
      tree: parameters, or what is shaped like them.
      masks: nested like the tree, of some of its leaves; None: of none.
    """
    if masks is None:
        return tree
    known = flatten_dict(masks)
    return unflatten_dict(
        {
            path: jnp.where(known[path], leaf, 0) if path in known else leaf
            for path, leaf in flatten_dict(tree).items()
        }
    )
