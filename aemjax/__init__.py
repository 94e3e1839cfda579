"""End-to-end audio classifiers in JAX: raw waveform in, embedding and scores out."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aemjax.serve.classifier import Classifier, load

__version__ = "0.1.0"
__all__ = ["Classifier", "load"]


def __getattr__(name: str):
    # Imported at first use: JAX takes a second, which `aemjax --help` need not.
    if name in __all__:
        return getattr(importlib.import_module("aemjax.serve.classifier"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
