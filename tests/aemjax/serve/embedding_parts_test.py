import os

import numpy as np

from aemjax.serve import embedding_parts


def test_parts_are_counted_on(tmp_path):
    parts = embedding_parts.Parts(tmp_path / "o", {"a": 1})
    parts.add(["x"], [(1, 2)], {"embedding": np.zeros((1, 3), np.float32)})
    parts = embedding_parts.Parts(tmp_path / "o", {"a": 1})
    parts.add(["y", "x"], [(3, 4), (5, 6)], {"embedding": np.ones((2, 3), np.float32)})
    assert sorted(os.listdir(parts.folder)) == ["00001.npz", "00002.npz", "about.json"]
    assert parts.done() == {"x": (5, 6), "y": (3, 4)}
    found = parts.gather(["x", "y"])
    np.testing.assert_array_equal(found["embedding"], np.ones((2, 3)))
