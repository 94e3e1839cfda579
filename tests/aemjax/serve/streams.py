"""What tests of streams have in common."""

import contextlib

import pytest

from aemjax.serve import streaming
from tests.aemjax.models.networks import quick_jit


@contextlib.contextmanager
def quick_streams():
    """Within it streams of small networks compile in less time."""
    statics = {"_apply": ("module",), "_score": ("module", "multi_label")}
    with pytest.MonkeyPatch.context() as patch:
        for name, names in statics.items():
            function = getattr(streaming, name).__wrapped__
            patch.setattr(streaming, name, quick_jit(function, static_argnames=names))
        yield
