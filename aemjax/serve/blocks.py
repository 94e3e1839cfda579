"""A block of a network on a stream: what it would make of all of it, as it comes."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from aemjax.models.receptive import Field

# (x "1 n *c", valid inputs "1") -> (y "1 m *d", valid outputs "1")
Function = Callable


class Blocks:
    """Applies a function of a whole signal to a stream of it, with the same result.

    The function is run on blocks of one size, so that it compiles once. A block begins a
    multiple of the stride into the stream, as far back as the next output sees, and only
    outputs are kept that see nothing beyond the block: what a layer within pads with
    reaches others alone. At the beginning of the stream the padding is the function's
    own; at its end the last block says how much of it is valid.
    """

    def __init__(
        self,
        function: Function,
        field: Field,
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        *,
        outputs: int,
    ):
        """Begins a stream.

        Args:
          function: takes (x "1 n *c" float32, valid inputs "1" int32), zeros past them,
            and gives (y, valid outputs "1").
          field: of the function.
          input_shape, output_shape: of one input "*c" and one output "*d".
          outputs: how many are made at once; the more, the less is computed twice, and
            the longer the first of them waits.
        """
        self._function = function
        self._field = field
        self._outputs = outputs
        # From a block's beginning to its first new output, in strides.
        self._context = -(field.low // field.stride)
        size = (self._context + outputs - 1) * field.stride + field.high + 1
        self._block = np.zeros((size, *input_shape), np.float32)
        self._none = np.zeros((0, *output_shape), np.float32)
        self._start = 0  # of the block, in strides
        self._count = 0  # inputs in the block
        self._next = 0  # output

    def push(self, x: Float32[np.ndarray, "n *c"]) -> Float32[np.ndarray, "m *d"]:
        """The outputs that these inputs complete."""
        found = [self._none]
        while True:
            last = self._next + self._outputs - 1 - self._start
            needed = last * self._field.stride + self._field.high + 1
            taken = min(needed - self._count, len(x))
            self._block[self._count : self._count + taken] = x[:taken]
            self._count += taken
            x = x[taken:]
            if self._count < needed:
                return np.concatenate(found)
            outputs, _ = self._run()
            first = self._next - self._start
            found.append(outputs[first : first + self._outputs])
            self._next += self._outputs
            self._move()

    def close(self) -> Float32[np.ndarray, "m *d"]:
        """The outputs that see past the end of the stream."""
        if not self._count:
            return self._none
        outputs, valid = self._run()
        first = self._next - self._start
        return outputs[first:valid]

    def _run(self) -> tuple[Float32[np.ndarray, "m *d"], int]:
        self._block[self._count :] = 0  # blocks read zeros past what is valid
        count = np.array([self._count], np.int32)
        outputs, valid = self._function(self._block[None], count)
        return np.asarray(outputs)[0], int(valid[0])

    def _move(self) -> None:
        """To where the next output needs it."""
        start = max(0, self._next - self._context)
        gone = (start - self._start) * self._field.stride
        kept = self._block[gone : self._count].copy()
        self._block[: len(kept)] = kept
        self._start, self._count = start, len(kept)
