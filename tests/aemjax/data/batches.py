"""Batches of the set `ramps`, and what joins and compares them."""

import itertools

import numpy as np

from aemjax.data.pipeline import CropBatches, eval_batches, train_batches

ROWS = np.array([r for r in range(24) if r % 6 != 5])  # 20 of the 24
STEPS = 10  # of 8: four epochs
CROP = 500


def train(data, *, steps=STEPS, rows=ROWS, start_step=0, threads=0, **options):
    options = {"batch_size": 8, "crop_samples": CROP, "seed": 3} | options
    batches = CropBatches(data, rows, **options)
    read_ahead = train_batches(batches, start_step=start_step, threads=threads)
    return list(itertools.islice(read_ahead, steps))


def evaluate(data, rows=ROWS, **options):
    return list(eval_batches(data, rows, **({"batch_size": 4, "threads": 0} | options)))


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            assert one[key].dtype == other[key].dtype
            np.testing.assert_array_equal(one[key], other[key])


def joined(parts):
    """Batches by process -> global batches."""
    return [
        {key: np.concatenate([part[key] for part in step]) for key in step[0]}
        for step in zip(*parts, strict=True)
    ]
