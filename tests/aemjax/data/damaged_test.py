"""Records that cannot be read."""

import logging

import numpy as np
import pytest

from aemjax.data.pipeline import CropBatches
from tests.aemjax.data.batches import (
    CROP,
    ROWS,
    STEPS,
    assert_equal,
    evaluate,
    joined,
    train,
)


@pytest.mark.parametrize("threads", [0, 4])
def test_the_next_of_the_rows_stands_in(
    ramps, damage, rows_of, unbroken, threads, caplog
):
    # 5 is not one of `ROWS`, so 6 follows 4; 9 follows 7 and 8; 0 follows the last, 22.
    stand_in = {4: 6, 7: 9, 8: 9, 22: 0}
    assert ROWS[-1] == 22
    with caplog.at_level(logging.WARNING):
        found = train(damage(*stand_in), threads=threads)
    before = rows_of(unbroken)
    assert rows_of(found) == [stand_in.get(row, row) for row in before]
    # What is not damaged has the crops it had.
    crops = [
        np.concatenate([b["audio"] for b in batches]) for batches in (found, unbroken)
    ]
    same = [row not in stand_in for row in before]
    np.testing.assert_array_equal(crops[0][same], crops[1][same])
    means = np.concatenate([batch["mean"] for batch in found])
    np.testing.assert_array_equal(means, ramps.mean[rows_of(found)])
    labels = np.concatenate([batch["labels"] for batch in found])
    np.testing.assert_array_equal(
        labels, ramps.labels_multi_hot(np.array(rows_of(found)))
    )
    for row in stand_in:
        name = f"record {row} ({ramps.id[row]}) cannot be read"
        assert name in caplog.text and "the next record stands in" in caplog.text


def test_damaged_records_replaced_alike_by_all_processes(damage):
    data = damage(0, 11)
    whole = train(data)
    parts = [train(data, process_index=i, process_count=2, threads=2) for i in (0, 1)]
    assert_equal(joined(parts), whole)
    assert_equal(train(data, start_step=5, steps=5), whole[5:])


def test_damaged_records_are_counted_once(damage, caplog):
    batches = CropBatches(damage(1, 2), ROWS, batch_size=20, crop_samples=CROP, seed=3)
    for step in range(3):
        batches.read(step)
    assert batches.damaged == {1, 2}
    assert batches.scalars() == {"damaged_records": 2}
    assert len(caplog.records) == 2


@pytest.mark.parametrize("threads", [0, 2])
def test_too_many_damaged_records(damage, threads):
    options = {"threads": threads, "max_damaged": 2}
    assert len(train(damage(0, 1), **options)) == STEPS
    with pytest.raises(
        ValueError,
        match="record .* cannot be read: .* prepare the set.*number 3, .*max_damaged is 2",
    ):
        train(damage(0, 1, 2), **options)


def test_nothing_but_damaged_records(damage):
    with pytest.raises(ValueError, match="cannot be read"):
        train(damage(0, 1), rows=np.array([0, 1]))


@pytest.mark.parametrize("threads", [0, 2])
def test_evaluation_refuses_a_damaged_record(ramps, damage, threads):
    data = damage(8)
    with pytest.raises(ValueError, match="record 8 .* cannot be read: .* prepare the"):
        evaluate(data, threads=threads)
    others = ROWS[ROWS != 8]
    assert_equal(evaluate(data, others), evaluate(ramps, others))
