"""A StableHLO file in its engine."""

import jax
import numpy as np

from aemjax.export import graph, stablehlo_file


def test_few_of_many_shapes_stay_compiled(tmp_path, monkeypatch):
    def function(audio):
        return audio.sum(axis=1, keepdims=True), audio[:, :2]

    stablehlo_file.write(graph.Network(function, {}, function), tmp_path / "file.zip")
    engine = stablehlo_file.Engine(tmp_path / "file.zip")
    monkeypatch.setattr(stablehlo_file, "KEPT_SHAPES", 3)
    executables = jax.devices()[0].client.live_executables
    before = len(executables())
    for n_samples in (*range(160, 170), 160):
        audio = np.arange(2 * n_samples, dtype=np.float32).reshape(2, -1)
        for found, expected in zip(engine(audio), function(audio), strict=True):
            np.testing.assert_allclose(found, expected)
        assert len(executables()) <= before + 3
