"""Heads: embedding -> class scores.

A head is a module with fields `num_classes` and `dropout`, and `numerics` if it can be
quantised, whose `__call__(embedding "b d", valid, *, train)` returns logits "b k". One
whose class says `reads_frames` is given the feature map "b f w d", in the embedding's
space, that the embedding is the average of; `valid` counts the valid frames of that, or is
None where all are. Draws come from the "dropout" stream.
"""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from aemjax.models.layers import Valid, dense, mean_over_valid
from aemjax.models.numerics import FLOAT


class AclNetHead(nn.Module):
    """Dropout -> 1x1 convolution -> global average pool (AclNet, section 2).

    The convolution and the average are both linear, so the average is taken first:
    the same function, at a fraction of the arithmetic.
    """

    reads_frames: ClassVar[bool] = True
    num_classes: int
    dropout: float = 0.2
    numerics: str = FLOAT

    @nn.compact
    def __call__(
        self, frames: Float[Array, "b f w d"], valid: Valid = None, *, train: bool
    ) -> Float[Array, "b k"]:
        frames = nn.Dropout(self.dropout, deterministic=not train)(frames)
        return dense(
            mean_over_valid(frames, valid),
            self.num_classes,
            name="dense",
            numerics=self.numerics,
            train=train,
        )


class AclNetXHead(nn.Module):
    """ReLU -> dropout -> dense on the embedding (Galindo-Meza 2021, 4.3.2)."""

    num_classes: int
    dropout: float = 0.2
    numerics: str = FLOAT

    @nn.compact
    def __call__(
        self, embedding: Float[Array, "b d"], valid: Valid = None, *, train: bool
    ) -> Float[Array, "b k"]:
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(embedding))
        return dense(
            x,
            self.num_classes,
            name="dense",
            numerics=self.numerics,
            signed=False,
            train=train,
        )
