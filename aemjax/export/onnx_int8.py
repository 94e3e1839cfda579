"""ONNX files of 8-bit integers, by ONNX Runtime's static quantiser.

Kernels and activations are signed bytes, biases of 32 bits; between QuantizeLinear and
DequantizeLinear, as ONNX Runtime and others fuse them.
"""

import collections
import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from aemjax.export.graph import INPUT, Integers, Limit
from aemjax.models.numerics import SIGNED_LEVELS, UNSIGNED_LEVELS

WITH_KERNEL = ("Conv", "Gemm", "MatMul")
MOVING = ("Reshape", "Transpose")
# What lies between two kernels goes through as integers too; the rest is floats.
QUANTIZED = (*WITH_KERNEL, *MOVING, "Add", "MaxPool", "Pad", "Relu")


def quantize(
    path: Path, integers: Integers, *, calibration: Iterable[np.ndarray]
) -> None:
    """Replaces a float32 file of a folded network by one of integers.

    Args:
      calibration: audio "b t"; the quantiser asks for some, though every range is known.

    Raises:
      ValueError: if the file holds another network than `integers`.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        simplified = Path(folder) / "simplified.onnx"
        # Shapes are found well enough in the graph itself.
        quant_pre_process(
            path, simplified, skip_onnx_shape=True, skip_symbolic_shape=True
        )
        model = onnx.load(simplified)
        ranges = _ranges(model.graph, integers)
        overrides = {name: [_scale(limit)] for name, limit in ranges.items()}
        result = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            result,
            _Clips(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"TensorQuantOverrides": overrides},
        )
        quantized = onnx.load(result)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(onnx.load(path).metadata_props)
    onnx.save(quantized, path)


class _Clips(CalibrationDataReader):
    def __init__(self, clips: Iterable[np.ndarray]):
        self._clips = iter(clips)

    def get_next(self) -> dict[str, np.ndarray] | None:
        clip = next(self._clips, None)
        return None if clip is None else {INPUT: clip.astype(np.float32)}


def _scale(limit: Limit) -> dict[str, object]:
    """What the quantiser takes of a range, [-largest, largest] or [0, largest]."""
    levels = SIGNED_LEVELS if limit.signed else UNSIGNED_LEVELS
    return {
        "quant_type": QuantType.QInt8,
        "scale": np.array(limit.largest / levels, np.float32),
        "zero_point": np.array(0 if limit.signed else -128, np.int8),
    }


def _ranges(graph: onnx.GraphProto, integers: Integers) -> dict[str, Limit]:
    """{tensor: its limit} wherever the network rounds.

    A node is known by its kernel, as the order of nodes is the converter's: that of the
    layer PATH is rounded at PATH_in and PATH_out, and the sum of a block at BLOCK/sum_out.
    """
    weights = {x.name: numpy_helper.to_array(x) for x in graph.initializer}
    outputs = {x.name for x in graph.output}
    readers = collections.defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)

    def results(node: onnx.NodeProto) -> list[str]:
        """The tensors that hold what is rounded: as it comes, and up to its ReLU."""
        found = [node.output[0]]
        while found[-1] not in outputs and len(readers[found[-1]]) == 1:
            (reader,) = readers[found[-1]]
            if reader.op_type not in (*MOVING, "Relu"):
                break
            found.append(reader.output[0])
            if reader.op_type == "Relu":
                return found  # with its range before it, it has nothing left to do
        return found[:1]

    paths = collections.defaultdict(list)  # equal ones are met in this order
    for path, kernel in integers.kernels.items():
        paths[_key(kernel)].append(path)
    tensors = {}
    for node in graph.node:
        kernel = weights.get(node.input[1]) if node.op_type in WITH_KERNEL else None
        if kernel is None:
            continue
        known = paths[_key(_as_ours(node, kernel))]
        if not known:
            raise ValueError(
                f"{node.op_type} {node.name!r} has no kernel of the network"
            )
        path = known.pop(0)
        tensors[f"{path}_in"] = [node.input[0]]
        tensors[f"{path}_out"] = results(node)
        block = path.rpartition("/")[0]
        for reader in readers[node.output[0]]:
            if reader.op_type == "Add":
                tensors[f"{block}/sum_out"] = results(reader)
    if missing := sorted(integers.limits.keys() - tensors.keys()):
        raise ValueError(f"the graph has no tensor for {', '.join(missing)}")
    return {
        tensor: limit
        for point, limit in integers.limits.items()
        for tensor in tensors[point]
    }


def _as_ours(node: onnx.NodeProto, kernel: np.ndarray) -> np.ndarray:
    """A node's kernel in the order of axes that Flax has it in."""
    if node.op_type == "Conv":
        return np.moveaxis(kernel, (0, 1), (-1, -2))
    transposed = any(x.name == "transB" and x.i for x in node.attribute)
    return kernel.T if transposed else kernel


def _key(kernel: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return kernel.shape, np.ascontiguousarray(kernel).tobytes()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice to do what was done."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
