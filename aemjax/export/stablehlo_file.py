"""StableHLO files, by `jax.export`: a zip of the serialised function and its metadata.

They run on CPU, CUDA and TPU, and JAX keeps reading them for at least half a year.
"""

import json
import struct
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from aemjax.export.graph import Network
from aemjax.models.compiling import jit_network
from aemjax.models.frames import FRAME_SAMPLES

PLATFORMS = ("cpu", "cuda", "tpu")
# For the page beside a file.
USE = """
```python
from aemjax.export.stablehlo_file import Engine

logits, embedding = Engine("{file}")(audio)  # float32, (clips, samples)
```
"""
FUNCTION, METADATA = "function.jax_export", "metadata.json"
KEPT_SHAPES = 16  # compiled ones: each has the weights in it


def write(network: Network, path: Path) -> None:
    """Writes a file with any batch and any length of audio."""
    shape = export.symbolic_shape(
        "batch, samples", constraints=[f"samples >= {FRAME_SAMPLES}"]
    )
    function = export.export(jax.jit(network.function), platforms=PLATFORMS)(
        jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(METADATA, json.dumps(network.metadata, indent=2))
        file.writestr(FUNCTION, bytes(function.serialize()))


class Engine:
    """A file in JAX, which compiles it for each shape of audio, and keeps a few.

    Attributes:
      metadata: of the file.
    """

    def __init__(self, path: str | Path):
        try:
            with zipfile.ZipFile(path) as file:
                self.metadata = json.loads(file.read(METADATA))
                function = export.deserialize(bytearray(file.read(FUNCTION)))
        except (zipfile.BadZipFile, KeyError, ValueError, struct.error) as error:
            raise ValueError(
                f"{path} is no file of `aemjax export`: {error}"
            ) from error
        self._function = jit_network(function.call)
        self._shapes = set()  # that are compiled

    def __call__(self, audio: np.ndarray) -> list[np.ndarray]:
        """[logits "b k", embedding "b d"] of audio "b t"."""
        if audio.shape not in self._shapes and len(self._shapes) >= KEPT_SHAPES:
            self._function.clear_cache()
            self._shapes.clear()
        self._shapes.add(audio.shape)
        return list(jax.device_get(self._function(audio)))
