"""The parts of a model that may be frozen, or train at a rate of their own."""

import re
from typing import Any

import jax

from aemjax.models.aemnet import AemNet

PyTree = Any


def stages(model: AemNet) -> dict[str, str]:
    """{name: regular expression of its parameter paths}, in the order of the signal.

    A backbone with a `stages` property ({name: names of its children}) is taken apart
    by it, as "backbone/NAME"; any other is one stage, "backbone". A front end or
    backbone without parameters is listed all the same.
    """
    backbone = model.make_backbone(dtype=model.dtype, parent=None)
    parts = getattr(backbone, "stages", None)
    found = {"frontend": "frontend/.*"}
    if parts is None:
        found["backbone"] = "backbone/.*"
    else:
        for name, children in parts.items():
            found[f"backbone/{name}"] = f"backbone/({'|'.join(children)})/.*"
    if not getattr(backbone, "embeds_by_pooling", False):
        found["embedding"] = "embedding/.*"
    return found | {"head": "head/.*"}


def stop_frozen(model: AemNet, params: PyTree) -> PyTree:
    """The parameters, with no gradient for those of `model.frozen`.

    Nothing is then computed backwards through stages that lie before the first one that
    trains.
    """
    patterns = frozen_patterns(model)
    if not patterns:
        return params

    def stop(path, x):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        frozen = any(re.fullmatch(pattern, name) for pattern in patterns)
        return jax.lax.stop_gradient(x) if frozen else x

    return jax.tree_util.tree_map_with_path(stop, params)


def frozen_patterns(model: AemNet) -> list[str]:
    """Those of the stages in `model.frozen`, where "backbone" stands for all of its own."""
    return [
        pattern
        for name, pattern in stages(model).items()
        if name in model.frozen or name.partition("/")[0] in model.frozen
    ]
