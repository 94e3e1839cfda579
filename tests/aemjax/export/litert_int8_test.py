"""Integers in a file for LiteRT: in the ranges that were trained, or in those of audio."""

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils

from aemjax.export import check, graph, litert_file, litert_int8
from tests.aemjax.export.conftest import LIMIT

SECONDS = 0.1
CALIBRATION = check.random_audio([SECONDS] * 4)
AVERAGES = ("MEAN", "SUM", "MUL")
AUDIO = CALIBRATION[2]  # three clips


def written(net, folder, *, calibration=CALIBRATION, integers=None):
    path = folder / "model.tflite"
    litert_file.write(net, path, seconds=[SECONDS])
    size = path.stat().st_size
    litert_int8.quantize(path, integers or net.integers, calibration=calibration)
    assert path.stat().st_size < 0.5 * size
    return path


def results(path):
    """(operation, type of its result, its tensors) in the order that they run in."""
    model = flatbuffer_utils.read_model(str(path))
    (signature,) = model.subgraphs
    for operation in signature.operators:
        tensors = [
            signature.tensors[i] for i in (*operation.outputs, *operation.inputs)
        ]
        kind = flatbuffer_utils.type_to_name(tensors[0].type)
        yield litert_file.operator(model, operation), kind, tensors


@pytest.mark.parametrize("name", ["aemnet", "aemnet_dw", "aemresnet"])
def test_ranges_that_were_trained_are_the_files(read, tmp_path, name):
    net = read(name)
    path = written(net, tmp_path)
    engine = litert_file.Engine(path)
    assert engine.metadata["dtype"] == "int8"
    signed, unsigned = np.float32(LIMIT / 127), np.float32(LIMIT / 255)
    number_of_kernels = 0
    for operation, kind, (result, *inputs) in results(path):
        if operation in ("DEQUANTIZE", *AVERAGES):
            assert kind == "FLOAT32"
            continue
        assert kind == "INT8"
        (step,), (zero,) = result.quantization.scale, result.quantization.zeroPoint
        if operation in litert_int8.WITH_KERNEL:
            number_of_kernels += 1
            assert len(inputs[1].quantization.scale) == result.shape[-1]
            assert flatbuffer_utils.type_to_name(inputs[2].type) == "INT32"
        assert (step, zero) in [
            (pytest.approx(signed), 0),
            (pytest.approx(unsigned), -128),
        ]
    # The embedding is computed with its ReLU and without.
    assert number_of_kernels == len(net.integers.kernels) + (name != "aemnet")
    alone = [engine(clip[None]) for clip in AUDIO]
    for found, expected, *rows in zip(engine(AUDIO), net(AUDIO), *alone, strict=True):
        np.testing.assert_array_equal(found, np.concatenate(rows))
        assert found.dtype == np.float32
        assert abs(found - expected).max() < 4 * signed
        assert abs(found - expected).mean() < signed


def test_the_first_layers_input_is_rounded_as_in_training(read, tmp_path):
    """Past it, a sum that falls between two values may be rounded to either."""
    net = read("aemnet_dw")
    (_, _, (result, source, *_)), *_ = results(written(net, tmp_path))
    assert (source.name, tuple(result.shape)) == (b"samples_1600_audio", (1, 1600))
    assert result.quantization.scale == [np.float32(LIMIT / 127)]


def test_ranges_are_those_of_audio_where_none_were_trained(read, tmp_path):
    net = read("aemnet_dw", numerics="float", calibration=CALIBRATION)
    engine = litert_file.Engine(written(net, tmp_path))
    for found, expected in zip(engine(AUDIO), net(AUDIO), strict=True):
        assert abs(found - expected).max() < 0.05 * abs(expected).max()


def test_standardising_stays_in_floats(read, tmp_path):
    net = read("aemnet_dw", standardize=True)
    quiet = [0.03 * audio + 0.2 for audio in CALIBRATION]
    path = written(net, tmp_path, calibration=quiet)
    kinds = [(operation, kind) for operation, kind, _ in results(path)]
    first = kinds.index(("QUANTIZE", "INT8"))
    assert {kind for _, kind in kinds[:first]} == {"FLOAT32"}
    assert {"SQRT", "DIV"} < {operation for operation, _ in kinds[:first]}
    floats = {x for x, kind in kinds[first:] if kind == "FLOAT32"}
    assert floats <= {"DEQUANTIZE", *AVERAGES}
    engine = litert_file.Engine(path)
    audio = quiet[0]
    assert abs(engine(audio)[0] - net(audio)[0]).max() < 4 * LIMIT / 127


def test_a_channel_that_pruning_left_nothing_of_keeps_its_bias(read, tmp_path):
    def prune(params):
        for layer in (params["embedding"], params["backbone"]["conv5"]["pointwise"]):
            layer["kernel"][..., 3] = 0
            layer["bias"][3] = 2.5

    net = read("aemnet_dw", change=prune)
    engine = litert_file.Engine(written(net, tmp_path))
    embedding = engine(AUDIO)[1]
    np.testing.assert_allclose(embedding[:, 3], 2.5, atol=LIMIT / 127)
    assert abs(embedding - net(AUDIO)[1]).max() < 4 * LIMIT / 127


def test_what_does_not_fit_is_refused(read, tmp_path):
    net = read("aemnet_dw")
    other = read("aemnet_dw", change=lambda x: x["embedding"]["kernel"].fill(0.5))
    with pytest.raises(ValueError, match="has no kernel of the network"):
        written(net, tmp_path, integers=other.integers)
    more = net.integers.limits | {"backbone/conv12_out": graph.Limit(1.0, True)}
    with pytest.raises(ValueError, match="has no tensor for backbone/conv12_out"):
        written(net, tmp_path, integers=graph.Integers(net.integers.kernels, more))
    for clips, message in (
        (
            check.random_audio([0.2]),
            "3200 samples to calibrate with, .* takes 1600; cut",
        ),
        ([], "no audio of 1600 samples to calibrate with"),
    ):
        with pytest.raises(ValueError, match=message):
            written(net, tmp_path, calibration=clips)
