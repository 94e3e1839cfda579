"""What a model costs: parameters, multiply-accumulates, bytes, per block."""

import dataclasses
import re
from collections import defaultdict

import flax.linen as nn
import jax
import jax.numpy as jnp

from aemjax.models.aemnet import AemNet

BYTES_PER_PARAMETER = 4  # float32


@dataclasses.dataclass(frozen=True)
class Summary:
    """Costs of one forward pass of one clip.

    Attributes:
      parameters: trainable parameters, by block path ("backbone/conv3").
      macs: multiply-accumulates of convolutions, dense layers and the constant matrices
        of a front end ("frontend/dft"), by block path.
      output_frames: frames that the front end makes, 100 per second.
    """

    parameters: dict[str, int]
    macs: dict[str, int]
    output_frames: int

    @property
    def total_parameters(self) -> int:
        return sum(self.parameters.values())

    @property
    def total_macs(self) -> int:
        return sum(self.macs.values())

    def to_dict(self) -> dict:
        """Totals under "parameters", "macs", "bytes", "output_frames", and "blocks"."""
        return {
            "parameters": self.total_parameters,
            "macs": self.total_macs,
            "bytes": self.total_parameters * BYTES_PER_PARAMETER,
            "output_frames": self.output_frames,
            "blocks": {
                block: {
                    "parameters": count,
                    "macs": self.macs.get(block, 0),
                    "bytes": count * BYTES_PER_PARAMETER,
                }
                for block, count in self.parameters.items()
            },
        }

    def table(self) -> str:
        """The same as text, one row per block and a total."""
        totals = self.to_dict()
        rows = [*totals["blocks"].items(), ("total", totals)]
        lines = [f"{'block':<24}{'parameters':>14}{'MACs':>18}{'bytes':>14}"]
        lines += [
            f"{block:<24}{row['parameters']:>14,}{row['macs']:>18,}{row['bytes']:>14,}"
            for block, row in rows
        ]
        lines.append(f"front end output: {self.output_frames} frames")
        return "\n".join(lines)


def summarize(model: AemNet, *, n_samples: int) -> Summary:
    """Counts without computing: shapes alone are traced.

    MACs are those of convolutions and dense layers, and of a spectral front end's
    products with constant matrices (which hold no parameters); BatchNorm, pools,
    logarithms and activations are left out, as in the published 1.84e9 of AemResNet.

    Args:
      model: from `create`.
      n_samples: length of the clip, at 16 kHz.

    Raises:
      ValueError: if the clip is shorter than one frame.
    """
    macs = defaultdict(int)
    frames = []

    def count(next_call, args, kwargs, context):
        out = next_call(*args, **kwargs)
        module = context.module
        if context.method_name == "__call__":
            if isinstance(module, nn.Conv | nn.Dense):
                kernel = module.get_variable("params", "kernel")
                positions = out.size // out.shape[-1]
                macs[_block("/".join(module.path))] += kernel.size * positions
            elif module.path == ("frontend",):
                n_frames = out[0].shape[1]
                frames.append(n_frames)
                for matrix, per_frame in getattr(module, "matrix_macs", {}).items():
                    macs[f"frontend/{matrix}"] += per_frame * n_frames
        return out

    def forward():
        with nn.intercept_methods(count):
            return model.init(jax.random.key(0), jnp.zeros((1, n_samples)))

    shapes = jax.eval_shape(forward)["params"]
    parameters = defaultdict(int)
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        name = jax.tree_util.keystr(path[:-1], simple=True, separator="/")
        parameters[_block(name)] += leaf.size
    blocks = sorted({*parameters, *macs})
    return Summary({b: parameters[b] for b in blocks}, dict(macs), frames[0])


def _block(path: str) -> str:
    """The first two levels of a module's path; bn3 counts with conv3."""
    return re.sub(r"/bn(?=\d)", "/conv", "/".join(path.split("/")[:2]))
