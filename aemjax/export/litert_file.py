"""LiteRT files (.tflite), by LiteRT's converter, run by its interpreter.

The converter keeps no axis of time dynamic, so a file takes audio of the lengths that it
was written for: a signature for each, which share the weights. It is given StableHLO;
TensorFlow has no part in it. The module that it is called through is internal to it, hence
the exact versions in pyproject.toml.
"""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from jax import export

from aemjax.audio.read import SAMPLE_RATE
from aemjax.export.graph import INPUT, OUTPUTS, Network
from aemjax.export.litert_layers import with_two_axes
from aemjax.models import ops

# For the page beside a file.
USE = """
```python
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("{file}")
run = interpreter.get_signature_runner("{signature}")
outputs = run(audio=audio)  # float32, (1, samples); "logits", "embedding"
```
"""
METADATA = "metadata.json"
SIGNATURE = "samples_{}"
BATCH = 97  # a prime, so that an axis which it is part of is known
# Operations that are told the shape of their result, by which input: -1 is what is left.
SHAPED = {"RESHAPE": 1, "SLICE": 2}
ALIGNMENT = 16  # bytes: of weights in the file, which interpreters map


def write(network: Network, path: Path, *, seconds: Sequence[int | float]) -> None:
    """Writes a file with any batch, and audio of these lengths.

    Raises:
      ValueError: if the converter has no operation for one of the network's.
    """
    lengths = sorted({round(length * SAMPLE_RATE) for length in seconds})
    model = flatbuffer_utils.read_model_from_bytearray(_convert(network, lengths))
    free_batch(model)
    metadata = dict(network.metadata)
    metadata.pop("shortest_input", None)
    metadata["input_samples"] = ", ".join(map(str, lengths))
    set_metadata(model, metadata)
    save(model, path)


def _convert(network: Network, lengths: Sequence[int]) -> bytearray:
    modules = [_lower(network, n_samples) for n_samples in lengths]
    with quiet():
        from litert_converter import converter_api_ext as converter
        from litert_converter.mlir import ir, passmanager

        context = ir.Context()
        converter.prepare_mlir_context(context)
        with context:
            converted = []
            for n_samples, text in zip(lengths, modules, strict=True):
                module = ir.Module.parse(text)
                try:
                    converter.run_convert_to_tfl_passes(
                        module,
                        passmanager.PassManager(),
                        converter.ConvertToTFLConfig(),
                    )
                except Exception as error:
                    raise ValueError(
                        f"LiteRT's converter cannot write the network: {error}"
                    ) from error
                (main,) = module.body.operations
                name = SIGNATURE.format(n_samples)
                main.attributes["sym_name"] = ir.StringAttr.get(name)
                converter.set_signature(main.operation, name, [INPUT], list(OUTPUTS))
                converted.append(module)
            merged = converter.merge_modules(converted)
            return bytearray(converter.export_flatbuffer_to_bytes(merged.operation))


def _lower(network: Network, n_samples: int) -> str:
    """StableHLO of a batch of `BATCH`, which `free_batch` makes any.

    With a batch of unknown size the converter neither folds BatchNorm into convolutions
    nor broadcasts without computing shapes; with one of 1 it drops the axis here and there.
    """

    def function(audio):  # a new one, as traces are cached
        return network.function(audio)

    with ops.plain_forms(), nn.intercept_methods(with_two_axes):
        exported = export.export(jax.jit(function), platforms=["cpu"])(
            jax.ShapeDtypeStruct((BATCH, n_samples), jnp.float32)
        )
    return exported.mlir_module()


def free_batch(model: schema.ModelT) -> None:
    """Makes the first axis of every activation, a multiple of `BATCH`, one of any size."""
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            shape = [] if tensor.shape is None else [int(size) for size in tensor.shape]
            is_constant = model.buffers[tensor.buffer].data is not None
            if not is_constant and shape and shape[0] % BATCH == 0:
                tensor.shape = [shape[0] // BATCH, *shape[1:]]
                tensor.shapeSignature = [-1, *shape[1:]]
        for operation in graph.operators:
            if (name := operator(model, operation)) not in SHAPED:
                continue
            tensor = graph.tensors[operation.inputs[SHAPED[name]]]
            shape = constant(model, tensor).copy()
            if shape[0] % BATCH:
                continue
            shape[0] = -1
            tensor.buffer = len(model.buffers)  # its own, as equal ones are shared
            model.buffers.append(schema.BufferT(shape.view(np.uint8)))
            if name == "RESHAPE" and operation.builtinOptions is not None:
                operation.builtinOptions.newShape = shape.tolist()


def operator(model: schema.ModelT, operation: schema.OperatorT) -> str:
    """An operation's name, such as "CONV_2D"."""
    return flatbuffer_utils.opcode_to_name(model, operation.opcodeIndex)


def constant(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray | None:
    """A tensor's values; None: they are computed."""
    data = model.buffers[tensor.buffer].data
    if data is None:
        return None
    dtype = flatbuffer_utils.type_to_name(tensor.type).lower()
    return np.frombuffer(bytes(data), dtype).reshape(tensor.shape)


def set_metadata(model: schema.ModelT, metadata: dict[str, str]) -> None:
    """Texts by name, as JSON in the file's metadata buffer `METADATA`."""
    data = np.frombuffer(json.dumps(metadata, indent=2).encode(), np.uint8)
    entry = schema.MetadataT(METADATA.encode(), len(model.buffers))
    others = [x for x in model.metadata or [] if x.name != entry.name]
    model.metadata = [*others, entry]
    model.buffers.append(schema.BufferT(data))


def get_metadata(path: str | Path) -> dict[str, str]:
    """What `set_metadata` set.

    Raises:
      ValueError: if nothing is, or it is no such file.
    """
    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(f"{path} is no LiteRT file")
    model = schema.Model.GetRootAs(content)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == METADATA.encode():
            data = model.Buffers(entry.Buffer()).DataAsNumpy()
            return json.loads(bytes(data))
    raise ValueError(f"{path} has no {METADATA}: `aemjax export` did not write it")


def input_samples(metadata: dict[str, str]) -> list[int]:
    """The lengths that a file takes."""
    return [int(n_samples) for n_samples in metadata["input_samples"].split(", ")]


class _Aligned(schema.BufferT):
    def Pack(self, builder):
        if self.data is not None:
            builder.Prep(ALIGNMENT, len(self.data))
        return super().Pack(builder)


def save(model: schema.ModelT, path: Path) -> None:
    """Writes the file."""
    model.buffers = [_Aligned(x.data, x.offset, x.size) for x in model.buffers]
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what libraries log off standard error, unless something is raised."""
    sys.stderr.flush()
    descriptor, stream = os.dup(2), sys.stderr
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        os.dup2(log.fileno(), 2)
        try:
            with contextlib.redirect_stderr(log):
                yield
        except BaseException:
            log.flush()
            log.seek(0)
            stream.write(log.read())
            raise
        finally:
            os.dup2(descriptor, 2)
            os.close(descriptor)


class Engine:
    """A file in LiteRT's interpreter, on the CPU.

    Attributes:
      metadata: of the file.
    """

    def __init__(self, path: str | Path, *, threads: int = 0):
        """Loads it.

        Args:
          threads: 0: as many as the engine takes.

        Raises:
          ValueError: if `aemjax export` did not write it, or it does not run.
        """
        self.metadata = get_metadata(path)
        self._runners = {}
        with quiet():
            interpreter = Interpreter(str(path), num_threads=threads or None)
            try:
                interpreter.allocate_tensors()
            except RuntimeError as error:
                raise ValueError(f"LiteRT does not run {path}: {error}") from error
            for n_samples in input_samples(self.metadata):
                name = SIGNATURE.format(n_samples)
                self._runners[n_samples] = interpreter.get_signature_runner(name)

    def __call__(self, audio: np.ndarray) -> list[np.ndarray]:
        """[logits "b k", embedding "b d"] of audio "b t".

        Raises:
          ValueError: if the file was not written for audio of this length.
        """
        if audio.shape[1] not in self._runners:
            raise ValueError(
                f"the file takes audio of {self.metadata['input_samples']} samples, not "
                f"{audio.shape[1]}; cut or loop it, or export one of other --seconds"
            )
        outputs = self._runners[audio.shape[1]](**{INPUT: audio})
        return [outputs[name] for name in OUTPUTS]
