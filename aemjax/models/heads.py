"""Heads: embedding -> class scores.

A head is a module with fields `num_classes` and `dropout` whose
`__call__(embedding "b d", valid, *, train)` returns logits "b k". One whose class says
`reads_frames` is given the feature map "b f w d", in the embedding's space, that the
embedding is the average of. Draws come from the "dropout" stream.
"""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from aemjax.models.layers import Valid, mean_over_valid


class AclNetHead(nn.Module):
    """Dropout -> 1x1 convolution -> global average pool (AclNet, section 2).

    The convolution and the average are both linear, so the average is taken first:
    the same function, at a fraction of the arithmetic.
    """

    reads_frames: ClassVar[bool] = True
    num_classes: int
    dropout: float = 0.2

    @nn.compact
    def __call__(
        self, frames: Float[Array, "b f w d"], valid: Valid = None, *, train: bool
    ) -> Float[Array, "b k"]:
        frames = nn.Dropout(self.dropout, deterministic=not train)(frames)
        return nn.Dense(self.num_classes, name="dense")(mean_over_valid(frames, valid))


class AclNetXHead(nn.Module):
    """ReLU -> dropout -> dense on the embedding (Galindo-Meza 2021, 4.3.2)."""

    num_classes: int
    dropout: float = 0.2

    @nn.compact
    def __call__(
        self, embedding: Float[Array, "b d"], valid: Valid = None, *, train: bool
    ) -> Float[Array, "b k"]:
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(embedding))
        return nn.Dense(self.num_classes, name="dense")(x)
