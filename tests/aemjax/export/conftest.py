"""Networks of random weights, as if they had been read from a checkpoint."""

import jax
import numpy as np
import pytest

from aemjax.export import graph
from aemjax.models import create
from tests.aemjax.models.networks import random_variables, shapes_of

LIMIT = 6.0


@pytest.fixture
def read(monkeypatch):
    """Reads such a network as one of integers; all of its ranges end at LIMIT."""

    def read(name, *, numerics="int8", change=lambda variables: None, **options):
        about = {"name": name, "num_classes": 7, "width": 1 / 16, "numerics": numerics}
        gain = 1.0 if name == "aemresnet" else 1.4
        variables = random_variables(shapes_of(create(**about)), gain=gain)
        variables = jax.tree_util.tree_map_with_path(_limited, variables)
        change(variables["params"])
        card = type("Card", (), {"model": about, "labels": list("abcdefg")})
        card.sample_rate, card.multi_label, card.commit = 16_000, False, "-"
        monkeypatch.setattr(graph, "load", lambda spec: (variables, card, 0))
        return graph.read_network("random", dtype="int8", **options)

    return read


def _limited(path, leaf):
    return np.float32(LIMIT) if path[-1].key == "limit" else leaf
