"""Batches to train on: the same for any number of processes, threads and restarts."""

import itertools

import numpy as np
import pytest

from aemjax.data import records, sampling
from aemjax.data.pipeline import CropBatches, read_crop
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.shard_reader import ShardReader
from tests.aemjax.data.batches import (
    CROP,
    ROWS,
    STEPS,
    assert_equal,
    evaluate,
    joined,
    train,
)

# Training.


def test_a_batch(ramps, unbroken, where):
    for batch in unbroken:
        assert {
            key: (value.shape, value.dtype.name) for key, value in batch.items()
        } == {
            "audio": ((8, CROP), "int16"),
            "mean": ((8,), "float32"),
            "std": ((8,), "float32"),
            "labels": ((8, 3), "float32"),
        }
        row = where(batch["audio"])[0][:, 0]
        assert set(row) <= set(ROWS)
        np.testing.assert_array_equal(batch["mean"], ramps.mean[row])
        np.testing.assert_array_equal(batch["std"], ramps.std[row])
        np.testing.assert_array_equal(batch["labels"], ramps.labels_multi_hot(row))


@pytest.mark.parametrize("processes, threads", [(1, 1), (1, 4), (2, 0), (2, 4), (4, 1)])
def test_processes_and_threads_change_nothing(ramps, unbroken, processes, threads):
    parts = [
        train(ramps, threads=threads, process_index=i, process_count=processes)
        for i in range(processes)
    ]
    assert all(len(batch["audio"]) == 8 // processes for p in parts for batch in p)
    assert_equal(joined(parts), unbroken)


@pytest.mark.parametrize("start_step", [1, 4, 9])
@pytest.mark.parametrize("processes", [1, 2])
def test_starting_late_is_leaving_out_the_first(ramps, unbroken, start_step, processes):
    parts = [
        train(
            ramps,
            steps=STEPS - start_step,
            start_step=start_step,
            process_index=i,
            process_count=processes,
            threads=2 * processes,
        )
        for i in range(processes)
    ]
    assert_equal(joined(parts), unbroken[start_step:])


def test_an_epoch_visits_each_row_once_in_an_order_of_its_own(unbroken, rows_of):
    epochs = np.reshape(rows_of(unbroken), (4, 20))
    for epoch in epochs:
        assert sorted(epoch) == ROWS.tolist()
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_another_seed_gives_another_order_and_other_crops(ramps, unbroken, rows_of):
    other = train(ramps, seed=4)
    assert rows_of(other) != rows_of(unbroken)
    assert_equal(train(ramps, seed=3), unbroken)


def test_crops_lie_inside_the_clip_and_vary(ramps, where):
    starts = {row: set() for row in ROWS}
    for batch in train(ramps, steps=60):
        row, position = where(batch["audio"])
        assert (row == row[:, :1]).all()  # of one clip, and without a gap:
        np.testing.assert_array_equal(position, position[:, :1] + np.arange(CROP))
        for r, start in zip(row[:, 0], position[:, 0], strict=True):
            starts[r].add(start)
    assert min(map(len, starts.values())) > 15  # of 24 visits
    # Both ends are in reach.
    share = [s / (ramps.n_samples[r] - CROP) for r in ROWS for s in starts[r]]
    assert min(share) < 0.05 and max(share) > 0.95


def test_a_short_clip_is_looped(ramps, where):
    crop_samples = int(ramps.n_samples.max()) * 2 + 77
    starts = []
    for batch in train(ramps, steps=5, crop_samples=crop_samples):
        row, position = where(batch["audio"])
        assert (row == row[:, :1]).all()
        n_samples = ramps.n_samples[row[:, :1]]
        expected = (position[:, :1] + np.arange(crop_samples)) % n_samples
        np.testing.assert_array_equal(position, expected)
        starts += position[:, 0].tolist()
    assert len(set(starts)) > 20


@pytest.mark.parametrize("change, draws", [(0, 1), (-1, 2), (1, 800), (-799, 800)])
def test_a_crop_starts_anywhere_that_it_fits(ramps, where, change, draws):
    """The lowest and the highest draw are the first and the last of equal shares."""
    row = int(ramps.n_samples.argmin())
    assert ramps.n_samples[row] == 800
    out = np.empty(800 + change, np.int16)
    for part in range(draws):
        for draw in (-(-(part << 32) // draws), -(-(part + 1 << 32) // draws) - 1):
            read_crop(ramps, row, draw, out)
            assert where(out[:1]) == (row, part)


def test_no_two_streams_are_alike():
    rngs = itertools.product(range(10), ("order", "crop"), range(50))
    draws = np.array([sampling.rng(*which).random() for which in rngs])
    assert len(set(draws)) == 1000
    assert abs(draws.mean() - 0.5) < 3 * np.sqrt(1 / 12 / 1000)


@pytest.mark.parametrize("crop_samples", [500, 5000])
def test_records_are_read_whole_once(ramps, crop_samples, monkeypatch):
    data, whole = PreparedSet(ramps.path), []
    read = ShardReader.__getitem__
    monkeypatch.setattr(
        ShardReader,
        "__getitem__",
        lambda self, row: whole.append(row) or read(self, row),
    )
    batches = train(data, crop_samples=crop_samples)  # four epochs, of 20
    assert set(whole) == set(ROWS)
    assert len(whole) == (20 if crop_samples == 500 else 80)  # a looped clip needs all
    assert_equal(batches, train(PreparedSet(ramps.path), crop_samples=crop_samples))


@pytest.fixture(scope="module")
def as_flac(tmp_path_factory, ramps):
    folder = tmp_path_factory.mktemp("flac")
    source = ramps.path.parent / "set.csv"
    prepare("manifest", source, folder / "set", clips_per_shard=9, storage="flac")
    return PreparedSet(folder / "set")


@pytest.mark.parametrize("crop_samples", [500, 2000, 5000])
def test_batches_of_flac_are_those_of_samples(ramps, as_flac, crop_samples):
    assert_equal(
        train(as_flac, crop_samples=crop_samples),
        train(ramps, crop_samples=crop_samples),
    )


def test_a_crop_of_flac_decodes_no_whole_clip(as_flac, monkeypatch):
    whole = []
    monkeypatch.setattr(records, "from_storage", whole.append)
    train(as_flac, steps=2)
    assert not whole


def test_damaged_flac_is_replaced(as_flac, monkeypatch):
    read = ShardReader.__getitem__
    bad = int(ROWS[3])
    monkeypatch.setattr(
        ShardReader,
        "__getitem__",
        lambda self, row: read(self, row).replace(b"fLaC", b"gone", row == bad),
    )
    data = PreparedSet(as_flac.path)
    with pytest.raises(ValueError, match=rf"record {bad} .* damaged FLAC"):
        read_crop(data, bad, 0, np.empty(500, np.int16))
    crops = CropBatches(data, ROWS, 8, 500, seed=3)
    for step in range(3):
        assert len(crops.read(step)["audio"]) == 8
    assert crops.damaged == {bad}


@pytest.mark.parametrize("batches", [train, evaluate])
def test_processes_must_divide_the_batch(ramps, batches):
    with pytest.raises(
        ValueError, match="batch_size 8 is not a multiple of 3 processes"
    ):
        batches(ramps, batch_size=8, process_count=3)


# Balanced draws, and a teacher's outputs.


@pytest.fixture(scope="module")
def balanced(ramps):
    return sampling.order("balanced", ramps, ROWS, seed=3, offset=1)


def test_balanced_draws_are_the_same_for_any_processes_and_restart(
    ramps, balanced, rows_of
):
    unbroken = train(ramps, order=balanced)
    expected = np.concatenate([ROWS[balanced(epoch)] for epoch in range(4)])
    assert rows_of(unbroken) == expected.tolist()
    for processes, start_step in ((2, 0), (4, 3)):
        # A restart makes the order anew.
        again = sampling.order("balanced", ramps, ROWS, seed=3, offset=1)
        parts = [
            train(
                ramps,
                order=again,
                steps=STEPS - start_step,
                start_step=start_step,
                process_index=i,
                process_count=processes,
                threads=2,
            )
            for i in range(processes)
        ]
        assert_equal(joined(parts), unbroken[start_step:])


def test_balanced_draws_are_in_proportion_to_the_weights(ramps, balanced, rows_of):
    steps = 1_000  # 8,000 draws
    drawn = np.bincount(rows_of(train(ramps, order=balanced, steps=steps)))[ROWS]
    labels = ramps.labels_multi_hot(ROWS)
    weights = labels @ (1000 / (1 + labels.sum(axis=0)))
    share = weights / weights.sum()
    np.testing.assert_allclose(drawn / 8_000, share, atol=4 * np.sqrt(0.1 / 8_000))
    assert share.max() > 1.5 * share.min()


class Teacher:
    """Of every second row, its number in all three classes."""

    def probabilities(self, rows):
        known = rows % 2 == 0
        return np.where(known, rows, 0)[:, None] * np.ones((1, 3), np.float32), known


@pytest.mark.parametrize("processes", [1, 2])
def test_outputs_of_a_teacher_are_those_of_the_clips(
    ramps, damage, rows_of, unbroken, processes
):
    data = damage(4)
    parts = [
        train(data, teacher=Teacher(), process_index=i, process_count=processes)
        for i in range(processes)
    ]
    found = joined(parts)
    for batch, plain in zip(found, unbroken, strict=True):
        assert batch.keys() - plain.keys() == {"teacher", "taught"}
        assert batch["taught"].dtype == np.float32
    rows = np.array(rows_of(found))
    assert 4 not in rows  # 6 stands in, outputs and all
    taught = np.concatenate([batch["taught"] for batch in found])
    np.testing.assert_array_equal(taught, rows % 2 == 0)
    outputs = np.concatenate([batch["teacher"] for batch in found])
    np.testing.assert_array_equal(outputs[:, 2], np.where(rows % 2 == 0, rows, 0))
