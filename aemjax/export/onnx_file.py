"""ONNX files, by jax2onnx, run by ONNX Runtime."""

import logging
from pathlib import Path

import jax
import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
)

from aemjax.export.graph import INPUT, OUTPUTS, Network
from aemjax.models import ops

# For the page beside a file.
USE = """
```python
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
logits, embedding = session.run(None, {{"audio": audio}})  # float32, (clips, samples)
```
"""

# One lists the libraries that its own examples lack, the other constants without a type.
for _name in ("jax2onnx", "onnx_ir"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def write(network: Network, path: Path) -> None:
    """Writes a file with any batch and any length of audio."""
    import jax2onnx  # after the level of its log is set

    # The converter's own form of a bias adds arrays of other ranks.
    with ops.plain_forms(), jax.numpy_rank_promotion("allow"):
        model = jax2onnx.to_onnx(
            network.function,
            [("batch", "samples")],
            model_name="aemjax",
            input_names=[INPUT],
            output_names=list(OUTPUTS),
        )
    # Shapes of values in between: those of the time axis are stale.
    model.graph.ClearField("value_info")
    for key, value in network.metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


class Engine:
    """A file in ONNX Runtime, on the CPU.

    Attributes:
      metadata: of the file.
    """

    def __init__(self, path: str | Path, *, threads: int = 0):
        """Loads it.

        Args:
          threads: 0: as many as the engine takes.

        Raises:
          ValueError: if it is no such file.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except (InvalidProtobuf, InvalidGraph, InvalidArgument, Fail) as error:
            raise ValueError(f"{path} is no ONNX file that runs: {error}") from error
        self.metadata = self._session.get_modelmeta().custom_metadata_map

    def __call__(self, audio: np.ndarray) -> list[np.ndarray]:
        """[logits "b k", embedding "b d"] of audio "b t"."""
        return self._session.run(list(OUTPUTS), {INPUT: audio})
