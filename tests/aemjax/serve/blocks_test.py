import itertools

import numpy as np
import pytest

from aemjax.models.receptive import Field
from aemjax.serve.blocks import Blocks

# A convolution of 10 taps with stride 3, 4 zeros before and 5 after.
FIELD = Field(3, -4, 5)
TAPS = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)


def convolve(x, valid):
    """Of "1 n 2": "1 m", and how many of these the valid inputs make."""
    assert not x[0, valid[0] :].any()
    padded = np.pad(x[0], ((4, 5), (0, 0)))
    outputs = -(-x.shape[1] // 3)
    y = [(padded[3 * i : 3 * i + 10] * TAPS).sum() for i in range(outputs)]
    return np.float32([y]), -(-valid // 3)


def whole(x):
    return convolve(x[None], np.array([len(x)]))[0][0]


@pytest.mark.parametrize("outputs", [1, 2, 7])
def test_a_stream_is_the_whole(outputs):
    rng = np.random.default_rng(outputs)
    for n in (0, 1, 5, 6, 8, 9, 40, 41, 42):
        x = rng.normal(size=(n, 2)).astype(np.float32)
        for most in (1, 4, 50):
            blocks = Blocks(convolve, FIELD, (2,), (), outputs=outputs)
            found, place = [], 0
            while place < n:
                chunk = x[place : place + rng.integers(0, most + 1)]
                found.append(blocks.push(chunk))
                place += len(chunk)
            found.append(blocks.close())
            expected = whole(x) if n else []
            np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


@pytest.mark.parametrize("outputs", [1, 4])
def test_outputs_come_when_all_is_heard_and_blocks_are_of_one_size(outputs):
    shapes = []

    def function(x, valid):
        shapes.append(x.shape)
        return convolve(x, valid)

    blocks = Blocks(function, FIELD, (2,), (), outputs=outputs)
    x = np.ones((100, 2), np.float32)
    counts = list(
        itertools.accumulate(len(blocks.push(x[i : i + 1])) for i in range(100))
    )
    # Output i sees inputs up to 3 i + 5.
    known = [max(0, (heard - 6) // 3 + 1) for heard in range(1, 101)]
    assert counts == [count // outputs * outputs for count in known]
    assert len(shapes) == known[-1] // outputs
    assert set(shapes) == {(1, 6 + (outputs - 1) * 3 + 6, 2)}
