"""A file for LiteRT: one signature per length of audio, any batch, plain operations."""

import json
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from litert_converter import converter_api_ext as converter

from aemjax import cli
from aemjax.export import check, graph, litert_file
from aemjax.export.write import export_checkpoint
from tests.aemjax.models.networks import network, quick_jit

METADATA = {"labels": "cat\nnöise", "shortest_input": "160"}
OPERATIONS = {
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "MAX_POOL_2D",
    "MEAN",
    "PAD",
    "RESHAPE",
    "SUM",  # a mean over one
}


def exported(name, **kwargs):
    net = network(name, **kwargs)

    def function(audio):
        logits, aux = net.model.apply(net.variables, audio, train=False)
        return logits, aux["embedding"]

    return graph.Network(function, METADATA, function)


def written(net, folder, seconds):
    path = folder / "model.tflite"
    litert_file.write(net, path, seconds=seconds)
    return path


def operations(path):
    model = flatbuffer_utils.read_model(str(path))
    return [
        [litert_file.operator(model, x) for x in signature.operators]
        for signature in model.subgraphs
    ]


def test_a_file_takes_any_batch_of_its_lengths(tmp_path, capfd):
    net = exported("aemnet_dw")
    path = written(net, tmp_path, (0.1, 0.05, 0.1))
    engine = litert_file.Engine(path)
    assert engine.metadata == {"labels": "cat\nnöise", "input_samples": "800, 1600"}
    # BatchNorm, bias and ReLU are in the convolutions, and each weight is there once.
    assert [set(x) - OPERATIONS for x in operations(path)] == [set(), set()]
    assert [len(x) for x in operations(path)] == [39, 38]
    parameters = jax.tree.leaves(network("aemnet_dw").variables["params"])
    assert path.stat().st_size < 4 * sum(x.size for x in parameters) + 100_000
    for audio in check.random_audio([0.1, 0.05, 0.1]):
        expected_outputs = quick_jit(net.function)(audio)
        for found, expected in zip(engine(audio), expected_outputs, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(
        ValueError, match="takes audio of 800, 1600 samples, not 160; cut"
    ):
        engine(np.zeros((1, 160), np.float32))
    assert capfd.readouterr().err == ""


def test_the_command_writes_one(pretrained, audioset, tmp_path, capsys):
    out = tmp_path / "model.tflite"
    arguments = ["--format", "litert", "--out", str(out), "--data", str(audioset)]
    cli.main(
        ["export", str(pretrained), "--standardize", "--seconds", "0.1", *arguments]
    )
    about = json.loads(capsys.readouterr().out)
    assert about["largest difference of logits"] <= 1e-4
    engine = litert_file.Engine(out, threads=1)
    expected = graph.read_network(str(pretrained), standardize=True).metadata
    del expected["shortest_input"]
    assert engine.metadata == expected | {"input_samples": "1600"}
    page = (tmp_path / "model.tflite.md").read_text()
    assert "Each clip must have mean 0" not in page
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    names = {"audio": np.full((1, 1600), 0.25, np.float32)}
    with litert_file.quiet():
        exec(code.replace('"model.tflite"', repr(str(out))), names)
    np.testing.assert_array_equal(names["outputs"]["logits"], engine(names["audio"])[0])


def test_lengths_are_asked_for_where_a_file_is_of_some(tmp_path):
    def export(format, *seconds):
        out = tmp_path / "model"
        export_checkpoint("nowhere", out, format=format, seconds=seconds)

    with pytest.raises(ValueError, match="of litert takes audio of set lengths alone"):
        export("litert")
    for format in ("onnx", "stablehlo", "pytorch"):
        with pytest.raises(ValueError, match=f"not those of {format}; leave out --sec"):
            export(format, 1)
    for wrong in (0.009, -1, float("nan"), float("inf")):
        with pytest.raises(
            ValueError, match=f"--seconds {wrong}: .* takes 0.01 or more"
        ):
            export("litert", 1, wrong)


def test_clips_are_cut_or_looped_to_a_length():
    clip = np.array([[3.0, 1.0] * 100, [5.0, -5.0] * 100], np.float32)
    longer, shorter = check.of_lengths([clip], [0.02, 0.01])
    assert longer.shape == (2, 320) and shorter.shape == (2, 160)
    for found in (longer, shorter):
        assert found.dtype == np.float32
        np.testing.assert_allclose(
            found, np.resize([1.0, -1.0], found.shape), atol=1e-6
        )


def test_what_the_converter_cannot_do_is_said(tmp_path, monkeypatch):
    def fail(*args):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(converter, "run_convert_to_tfl_passes", fail)
    with pytest.raises(ValueError, match="cannot write the network: no such operation"):
        written(exported("aemnet_dw"), tmp_path, [0.01])


def test_a_file_of_others_is_refused(tmp_path):
    path = written(exported("aemnet_dw"), tmp_path, [0.01])
    model = flatbuffer_utils.read_model(str(path))
    model.metadata = None
    litert_file.save(model, path)
    with pytest.raises(
        ValueError, match="has no metadata.json: `aemjax export` did not"
    ):
        litert_file.Engine(path)


def test_what_the_interpreter_cannot_do_is_said(tmp_path):
    def spectrum(audio):
        return jnp.abs(jnp.fft.rfft(audio)), audio

    path = written(graph.Network(spectrum, METADATA, spectrum), tmp_path, [0.05])
    with pytest.raises(ValueError, match="LiteRT does not run .*IsPowerOfTwo"):
        litert_file.Engine(path)


def test_only_what_is_raised_is_logged(capfd):
    with litert_file.quiet():
        os.write(2, b"chatter")
    assert capfd.readouterr().err == ""
    with pytest.raises(KeyError), litert_file.quiet():
        os.write(2, b"the reason")
        raise KeyError
    assert capfd.readouterr().err == "the reason"


@pytest.mark.slow
@pytest.mark.parametrize("frontend", ["llf1", "llf2", "log_mel", "mfcc40"])
@pytest.mark.parametrize("name", ["aemnet", "aemnet_dw", "aemresnet"])
def test_the_published_networks(name, frontend, tmp_path):
    net = exported(name, frontend=frontend)
    engine = litert_file.Engine(written(net, tmp_path, [1]))
    worst = check.check(net, engine, check.random_audio([1] * 3), what=name)
    assert worst <= 1e-4 if frontend.startswith("llf") else 1e-3
