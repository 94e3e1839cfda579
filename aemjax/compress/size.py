"""What a network's parameters take, by the two ways in which they are counted.

The published count (Galindo-Meza 2021, chapter 5.4) takes every trainable value that is
not zero at the width of the kernels. What an engine stores is something else: BatchNorm is
folded into the kernels before it, which leaves a bias for each channel at full width.
"""

import dataclasses
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from aemjax.compress.folding import convolution_of

PyTree = Any

BIAS_BYTES = 4
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}


@dataclasses.dataclass(frozen=True)
class LayerSize:
    """Counts of a layer: a kernel with its bias, or with the BatchNorm after it.

    Attributes:
      parameters: trainable values.
      nonzero: those of them that are not zero.
      kernel: values of the kernel.
      kernel_nonzero: those of them that are not zero.
      biases: values stored at full width once BatchNorm is folded.
    """

    parameters: int
    nonzero: int
    kernel: int
    kernel_nonzero: int
    biases: int

    def published_bytes(self, width: int) -> int:
        """Every non-zero trainable value at `width` bytes."""
        return self.nonzero * width

    def stored_bytes(self, width: int) -> int:
        """Non-zero kernel values at `width` bytes, biases at four."""
        return self.kernel_nonzero * width + self.biases * BIAS_BYTES

    def __add__(self, other: "LayerSize") -> "LayerSize":
        mine, theirs = map(dataclasses.astuple, (self, other))
        return LayerSize(*(a + b for a, b in zip(mine, theirs, strict=True)))


def measure(params: PyTree) -> dict[str, LayerSize]:
    """The counts of each layer, by its path ("backbone/conv3")."""
    flat = {path: np.asarray(leaf) for path, leaf in flatten_dict(params).items()}
    kernels = {path[:-1] for path in flat if path[-1] == "kernel"}
    layers: dict[tuple[str, ...], list] = {}
    for path, values in flat.items():
        module = path[:-1]
        folded = convolution_of(module)
        layer = folded if folded in kernels else module
        layers.setdefault(layer, []).append((path, values, layer != module))
    return {"/".join(layer): _layer(parts) for layer, parts in sorted(layers.items())}


def _layer(parts: list) -> LayerSize:
    kernel = [values for path, values, _ in parts if path[-1] == "kernel"]
    # Folded, a BatchNorm's scale goes into the kernel, and its bias stays.
    biases = sum(
        values.size
        for path, values, folded in parts
        if path[-1] != "kernel" and not (folded and path[-1] == "scale")
    )
    return LayerSize(
        parameters=sum(values.size for _, values, _ in parts),
        nonzero=sum(int(np.count_nonzero(values)) for _, values, _ in parts),
        kernel=sum(values.size for values in kernel),
        kernel_nonzero=sum(int(np.count_nonzero(values)) for values in kernel),
        biases=biases,
    )


def total(layers: Mapping[str, LayerSize]) -> LayerSize:
    """The sum over layers."""
    return sum(layers.values(), LayerSize(0, 0, 0, 0, 0))


def to_dict(layers: Mapping[str, LayerSize], *, width: int) -> dict[str, Any]:
    """Totals, and "layers" of the same, for programs."""

    def about(size: LayerSize) -> dict[str, int]:
        return {
            "parameters": size.parameters,
            "nonzero": size.nonzero,
            "published_bytes": size.published_bytes(width),
            "stored_bytes": size.stored_bytes(width),
        }

    own = {name: about(size) for name, size in layers.items()}
    return about(total(layers)) | {"layers": own}


def of_file(path: str | Path) -> tuple[int, int]:
    """A file's bytes, and what is left of them once deflated: zeros take next to none.

    Raises:
      OSError: if it cannot be read.
    """
    content = Path(path).read_bytes()
    return len(content), len(zlib.compress(content, 9))


def parse_budget(text: str) -> int:
    """Bytes of "128KiB", "1.5MiB" or "131072B".

    Raises:
      ValueError: on anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())
    if match is None or match[2] not in UNITS or not float(match[1]):
        raise ValueError(
            f"budget is {text!r}, expected a number and one of {', '.join(UNITS)}, such "
            "as 128KiB: KB is 1000 bytes to some and 1024 to others"
        )
    return math.floor(float(match[1]) * UNITS[match[2]])


def sparsity_for(
    layers: Mapping[str, LayerSize], budget: int, *, width: int
) -> dict[str, float]:
    """Sparsities at which the published and the stored bytes are within a budget.

    Args:
      budget: bytes.
      width: bytes of a kernel's value.

    Returns:
      {"published", "stored"}: shares of all parameters, as `pruning.count_zeros` takes
      them; at least 0.

    Raises:
      ValueError: if what is not pruned takes more.
    """
    whole = total(layers)
    not_pruned = {
        "published": (whole.parameters - whole.kernel) * width,
        "stored": whole.biases * BIAS_BYTES,
    }
    found = {}
    for name, fixed in not_pruned.items():
        if fixed > budget:
            raise ValueError(
                f"budget is {budget:,} bytes, but by the {name} count what is not "
                f"pruned takes {fixed:,}; choose a larger one, or a narrower network"
            )
        left = min((budget - fixed) // width, whole.kernel)
        found[name] = (whole.kernel - left) / whole.parameters
    return found


def table(layers: Mapping[str, LayerSize], *, width: int) -> str:
    """Both counts as text, a row per layer and a total."""
    rows = [*layers.items(), ("total", total(layers))]
    room = max(len(name) for name, _ in rows) + 2
    lines = [
        f"{'layer':<{room}}{'parameters':>14}{'non-zero':>14}"
        f"{'published bytes':>18}{'stored bytes':>16}"
    ]
    lines += [
        f"{name:<{room}}{size.parameters:>14,}{size.nonzero:>14,}"
        f"{size.published_bytes(width):>18,}{size.stored_bytes(width):>16,}"
        for name, size in rows
    ]
    return "\n".join(lines)
