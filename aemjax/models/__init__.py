"""Models: built by `create`, counted by `summarize`."""

from aemjax.models.aemnet import BLOCKS, EMBEDDING_DIM, AemNet, create
from aemjax.models.stages import frozen_patterns, stages, stop_frozen
from aemjax.models.summary import Summary, summarize

__all__ = [
    "BLOCKS",
    "EMBEDDING_DIM",
    "AemNet",
    "Summary",
    "create",
    "frozen_patterns",
    "stages",
    "stop_frozen",
    "summarize",
]
