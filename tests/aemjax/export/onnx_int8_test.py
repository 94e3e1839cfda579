"""Integers in an ONNX file: in the ranges that were trained, or in those of audio."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from aemjax.export import check, graph, onnx_file, onnx_int8
from tests.aemjax.export.conftest import LIMIT

CALIBRATION = check.random_audio([0.1] * 4)
AUDIO = CALIBRATION[2]  # three clips
SIGNED, UNSIGNED = np.float32(LIMIT / 127), np.float32(LIMIT / 255)


def written(net, folder, *, integers=None):
    path = folder / "model.onnx"
    onnx_file.write(net, path)
    size = path.stat().st_size
    onnx_int8.quantize(path, integers or net.integers, calibration=CALIBRATION)
    assert path.stat().st_size < 0.5 * size
    return path


def steps(path):
    """{(step, zero point)} of activations, and how many kernels are of signed bytes."""
    model = onnx.load(path).graph
    values = {x.name: numpy_helper.to_array(x) for x in model.initializer}
    found, kernels = set(), 0
    for node in model.node:
        if node.op_type == "QuantizeLinear":
            step, zero = (values[name] for name in node.input[1:3])
            found.add((float(step), int(zero)))
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            value = values[node.input[0]]
            kernels += value.dtype == np.int8 and value.ndim > 1
    return found, kernels


@pytest.mark.parametrize("name", ["aemnet", "aemnet_dw", "aemresnet"])
def test_ranges_that_were_trained_are_the_files(read, tmp_path, name):
    net = read(name)
    path = written(net, tmp_path)
    found, kernels = steps(path)
    assert found == {(float(SIGNED), 0), (float(UNSIGNED), -128)}
    assert kernels == len(net.integers.kernels)
    engine = onnx_file.Engine(path)
    assert engine.metadata == net.metadata
    assert engine.metadata["dtype"] == "int8"
    for got, expected in zip(engine(AUDIO), net(AUDIO), strict=True):
        assert abs(got - expected).max() < 4 * SIGNED
        assert abs(got - expected).mean() < SIGNED
    assert engine(np.zeros((2, 160), np.float32))[0].shape == (2, 7)  # any length


def test_ranges_are_those_of_audio_where_none_were_trained(read, tmp_path):
    net = read("aemnet_dw", numerics="float", calibration=CALIBRATION)
    engine = onnx_file.Engine(written(net, tmp_path))
    for got, expected in zip(engine(AUDIO), net(AUDIO), strict=True):
        assert abs(got - expected).max() < 0.05 * abs(expected).max()


def test_a_channel_that_pruning_left_nothing_of_keeps_its_bias(read, tmp_path):
    def prune(params):
        for layer in (params["embedding"], params["backbone"]["conv5"]["pointwise"]):
            layer["kernel"][..., 3] = 0
            layer["bias"][3] = 2.5

    net = read("aemnet_dw", change=prune)
    embedding = onnx_file.Engine(written(net, tmp_path))(AUDIO)[1]
    np.testing.assert_allclose(embedding[:, 3], 2.5, atol=SIGNED)
    assert abs(embedding - net(AUDIO)[1]).max() < 4 * SIGNED


def test_another_networks_file_is_refused(read, tmp_path):
    net = read("aemnet_dw")
    other = read("aemnet_dw", change=lambda x: x["embedding"]["kernel"].fill(0.5))
    with pytest.raises(ValueError, match="has no kernel of the network"):
        written(net, tmp_path, integers=other.integers)
    more = net.integers.limits | {"backbone/conv12_out": graph.Limit(1.0, True)}
    with pytest.raises(ValueError, match="has no tensor for backbone/conv12_out"):
        written(net, tmp_path, integers=graph.Integers(net.integers.kernels, more))
