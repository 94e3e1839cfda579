"""LiteRT files of 8-bit integers, by the AI Edge Quantizer.

Kernels and activations are signed bytes, biases of 32 bits. What comes before the first
layer (standardising, say) stays float32, as the input and the outputs do.
"""

import collections
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import qtyping, quantizer, recipe

from aemjax.export import litert_file
from aemjax.export.graph import INPUT, Integers, Limit
from aemjax.export.litert_file import SIGNATURE, constant, operator, quiet
from aemjax.models.numerics import SIGNED_LEVELS

WITH_KERNEL = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Their results have the range of what they read.
MOVING = ("MAX_POOL_2D", "PAD", "RESHAPE")
LARGEST_BIAS = 2**30  # half of 32 bits: the rest is for what is added to it
FLOAT = quantizer.AlgorithmName.NO_QUANTIZE

Range = dict[str, np.ndarray]  # {"min", "max"}


def quantize(
    path: Path, integers: Integers, *, calibration: Iterable[np.ndarray]
) -> None:
    """Replaces a float32 file of a folded network by one of integers.

    Args:
      calibration: audio "b t" of every length that the file takes, and no other; the
        quantizer asks for some, though every range is known.

    Raises:
      ValueError: if the file holds another network than `integers`, or audio is of another
        length, or none of one.
    """
    metadata = litert_file.get_metadata(path)
    model = flatbuffer_utils.read_model(path)
    made = quantizer.Quantizer(path.read_bytes(), recipe.static_wi8_ai8())
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    # An average's parts have no range that the network was trained with.
    operations = qtyping.TFLOperationName
    for kind in (operations.INPUT, operations.OUTPUT, operations.MEAN, operations.SUM):
        made.update_quantization_recipe(".*", kind, algorithm_key=FLOAT)
    ranges, biases = {}, {}
    for graph in model.subgraphs:
        layers = _Layers(model, graph, integers)
        for name in layers.before():
            pattern = f"^{re.escape(name)};"
            made.update_quantization_recipe(pattern, everything, algorithm_key=FLOAT)
        ranges |= layers.ranges()
        biases |= layers.biases()
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that calibration takes memory
        found = made.calibrate(_by_signature(metadata, calibration))
        result = made.quantize(found | ranges, enable_progress_report=False)
    quantized = flatbuffer_utils.read_model_from_bytearray(
        bytearray(result.quantized_model)
    )
    _mend(quantized, biases)
    litert_file.set_metadata(quantized, metadata)
    litert_file.save(quantized, path)


def _by_signature(
    metadata: dict[str, str], calibration: Iterable[np.ndarray]
) -> dict[str, list[dict[str, np.ndarray]]]:
    clips = {n_samples: [] for n_samples in litert_file.input_samples(metadata)}
    for audio in calibration:
        if audio.shape[1] not in clips:
            raise ValueError(
                f"audio of {audio.shape[1]} samples to calibrate with, where the file "
                f"takes {metadata['input_samples']}; cut or loop it"
            )
        clips[audio.shape[1]].append({INPUT: audio.astype(np.float32)})
    if missing := [n_samples for n_samples, found in clips.items() if not found]:
        raise ValueError(f"no audio of {missing[0]} samples to calibrate with")
    return {SIGNATURE.format(n_samples): found for n_samples, found in clips.items()}


def _mend(model: schema.ModelT, biases: dict[bytes, np.ndarray]) -> None:
    """Puts right what the quantizer leaves of outputs, and of biases by tensor."""
    for signature in model.signatureDefs:
        # An output that a layer reads too is listed as that reads it.
        outputs = [x.tensorIndex for x in signature.outputs]
        model.subgraphs[signature.subgraphIndex].outputs = outputs
    for graph in model.subgraphs:
        floats = {
            x.outputs[0]: x.inputs[0]
            for x in graph.operators
            if operator(model, x) == "DEQUANTIZE"
        }
        for tensor in map(graph.tensors.__getitem__, floats):
            tensor.shapeSignature = [-1, *tensor.shape[1:]]
        for operation in graph.operators:
            if operator(model, operation) in WITH_KERNEL:
                # It reads an output of the file as integers, not as that is given out.
                read = operation.inputs[0]
                operation.inputs[0] = floats.get(read, read)
                x, kernel, bias = (graph.tensors[i] for i in operation.inputs)
                if bias.name in biases:
                    _fit(model, x, kernel, bias, biases[bias.name])


def _fit(model: schema.ModelT, x, kernel, bias, values: np.ndarray) -> None:
    """Widens the steps of channels whose bias is past 32 bits of step times step.

    Such are those that pruning left nothing of, whose steps the quantizer makes tiny.
    """
    (step,) = x.quantization.scale
    steps = np.array(kernel.quantization.scale)
    wider = np.maximum(steps, abs(values) / (step * LARGEST_BIAS)).astype(np.float32)
    if np.allclose(bias.quantization.scale, step * wider, rtol=1e-5, atol=0):
        return
    shape = np.ones(len(kernel.shape), int)
    shape[kernel.quantization.quantizedDimension] = -1
    rounded = np.rint(constant(model, kernel) * (steps / wider).reshape(shape))
    kernel.quantization.scale = wider
    _set(model, kernel, rounded.astype(np.int8))
    bias.quantization.scale = step * wider
    _set(model, bias, np.rint(values / (step * wider)).astype(np.int32))


def _set(model: schema.ModelT, tensor: schema.TensorT, values: np.ndarray) -> None:
    tensor.buffer = len(model.buffers)
    model.buffers.append(schema.BufferT(values.ravel().view(np.uint8)))


class _Layers:
    """One signature's operations, and which layers of the network they are."""

    def __init__(self, model, graph: schema.SubGraphT, integers: Integers):
        self._model, self._graph, self._integers = model, graph, integers
        paths = collections.defaultdict(list)  # equal ones are met in this order
        for path, kernel in integers.kernels.items():
            paths[_key(kernel.reshape(-1, kernel.shape[-1]))].append(path)
        self._producers = {x.outputs[0]: x for x in graph.operators}
        self._layers = {}  # output -> path of its layer
        for operation in graph.operators:
            if operator(model, operation) not in WITH_KERNEL:
                continue
            kernel = self._kernel(operation)
            if kernel is None:
                continue
            # A layer whose result is given out with its ReLU and without is there twice.
            found = paths[_key(kernel)]
            if not found:
                raise ValueError(
                    f"{self._name(operation.outputs[0])} has no kernel of the network"
                )
            self._layers[operation.outputs[0]] = (
                found.pop(0) if len(found) > 1 else found[0]
            )

    def _kernel(self, operation: schema.OperatorT) -> np.ndarray | None:
        """In the order of axes that Flax has it in, but for those before the last."""
        kernel = constant(self._model, self._graph.tensors[operation.inputs[1]])
        if kernel is None:
            return None
        if operator(self._model, operation) != "DEPTHWISE_CONV_2D":
            kernel = np.moveaxis(kernel, 0, -1)
        return kernel.reshape(-1, kernel.shape[-1])

    def _name(self, tensor: int) -> str:
        return self._graph.tensors[tensor].name.decode()

    def _origin(self, tensor: int) -> int:
        """Where the values of a tensor were computed."""
        producer = self._producers.get(tensor)
        if producer is None or operator(self._model, producer) not in MOVING:
            return tensor
        return self._origin(producer.inputs[0])

    def biases(self) -> dict[bytes, np.ndarray]:
        """{tensor: its values}."""
        inputs = [self._producers[output].inputs[2] for output in self._layers]
        tensors = [self._graph.tensors[i] for i in inputs if i != -1]
        return {x.name: constant(self._model, x) for x in tensors}

    def before(self) -> list[str]:
        """Names of what is computed before the first layer."""
        first = next(iter(self._layers))
        pending = [self._origin(self._producers[first].inputs[0])]
        found = []
        while pending:
            tensor = pending.pop()
            if tensor in self._producers:
                found.append(self._name(tensor))
                pending += self._producers[tensor].inputs
        return found

    def ranges(self) -> dict[str, Range]:
        """{tensor: its range} wherever the network was trained with one.

        The layer PATH is rounded at PATH_in and PATH_out, and the sum of a block at
        BLOCK/sum_out.
        """
        limits = self._integers.limits
        tensors, seen = {}, set()

        def note(point: str, tensor: int) -> None:
            if point in limits:
                tensors[tensor] = limits[point]
                seen.add(point)

        for output, operation in self._producers.items():
            if operator(self._model, operation) == "ADD":
                inputs = [self._layers.get(x) for x in operation.inputs]
                path = next((x for x in inputs if x), None)
                if path is not None:
                    note(f"{path.rpartition('/')[0]}/sum_out", output)
        for output, path in self._layers.items():
            note(f"{path}_out", output)
            # After what was written of the same tensor: it is the input, past a ReLU.
            note(f"{path}_in", self._origin(self._producers[output].inputs[0]))
        if missing := sorted(limits.keys() - seen):
            raise ValueError(f"the graph has no tensor for {', '.join(missing)}")
        known = {}
        for tensor in range(len(self._graph.tensors)):
            if (limit := tensors.get(self._origin(tensor))) is not None:
                known[self._name(tensor)] = _range(limit)
        return known


def _range(limit: Limit) -> Range:
    """Of 256 values in steps of a limit's: of signed ones the least is -128."""
    low = -limit.largest * (SIGNED_LEVELS + 1) / SIGNED_LEVELS if limit.signed else 0.0
    return {
        "min": np.array([low], np.float32),
        "max": np.array([limit.largest], np.float32),
    }


def _key(kernel: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return kernel.shape, np.ascontiguousarray(kernel, np.float32).tobytes()
