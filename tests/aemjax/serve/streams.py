"""What tests of streams have in common."""

import contextlib
import functools

import pytest

from aemjax.serve import streaming
from tests.aemjax.models.networks import quick_jit


@contextlib.contextmanager
def quick_streams():
    """Within it streams of small networks compile in less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "jit_network", quick_jit)
        for name in ("_applying", "_scoring"):  # what they keep stays here
            function = getattr(streaming, name).__wrapped__
            patch.setattr(streaming, name, functools.lru_cache(function))
        yield
