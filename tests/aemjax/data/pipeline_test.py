"""Batches: the same for any number of processes, threads and restarts."""

import itertools
import logging
import shutil

import numpy as np
import pytest

from aemjax.data import pipeline, sampling
from aemjax.data.pipeline import CropBatches, eval_batches, read_crop, train_batches
from aemjax.data.prepared import PreparedSet
from aemjax.data.shard_reader import ShardReader

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


@pytest.fixture(scope="module")
def unbroken(ramps):
    return train(ramps)


@pytest.fixture(scope="module")
def rows_of(where):
    """batches -> the row of each example."""
    return lambda batches: [
        int(where(b["audio"][i])[0][0]) for b in batches for i in range(8)
    ]


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


# Evaluation.


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("threads", [0, 4])
def test_evaluation_sees_every_row_once(ramps, processes, threads):
    parts = [
        evaluate(ramps, threads=threads, process_index=i, process_count=processes)
        for i in range(processes)
    ]
    assert len({len(part) for part in parts}) == 1
    for part in parts:
        for batch in part:
            size, n_samples = batch["audio"].shape
            assert size == 4 // processes
            assert {key: (v.shape, v.dtype.name) for key, v in batch.items()} == {
                "audio": ((size, n_samples), "int16"),
                "lengths": ((size,), "int32"),
                "mean": ((size,), "float32"),
                "std": ((size,), "float32"),
                "row": ((size,), "int32"),
                "mask": ((size,), "float32"),
            }
    batches = joined(parts)  # also: processes have the same length at the same time
    seen = []
    for batch in batches:
        for i, row in enumerate(batch["row"]):
            audio, length = batch["audio"][i], batch["lengths"][i]
            if row < 0:
                assert batch["mask"][i] == 0
                assert not audio.any() and length == len(audio)
                assert (batch["mean"][i], batch["std"][i]) == (0, 1)
                continue
            assert batch["mask"][i] == 1
            assert length == ramps.n_samples[row]
            longest = int(batch["lengths"][batch["mask"] > 0].max())
            assert len(audio) == pipeline.bucket_samples(longest)
            np.testing.assert_array_equal(audio[:length], ramps.read_audio(int(row)))
            assert not audio[length:].any()
            assert batch["mean"][i] == ramps.mean[row]
            assert batch["std"][i] == ramps.std[row]
            seen.append(row)
    assert sorted(seen) == ROWS.tolist()
    assert sum(batch["mask"].sum() for batch in batches) == 20
    assert len(batches) == 5  # no more than 20 clips of 4 need
    lengths = [batch["audio"].shape[1] for batch in batches]
    assert lengths == sorted(lengths, reverse=True) and len(set(lengths)) > 1
    if processes > 1:
        assert_equal(batches, evaluate(ramps))


def test_evaluation_of_one_clip(ramps):
    (batch,) = evaluate(ramps, rows=np.array([7]), process_index=1, process_count=2)
    assert batch["mask"].tolist() == [0, 0]
    (batch,) = evaluate(ramps, rows=np.array([7]))
    assert batch["row"].tolist() == [7, -1, -1, -1]


def test_bucket_samples():
    n_samples = np.unique(np.geomspace(160, 2_000_000, 30_000).astype(int))
    n_samples = np.union1d(
        n_samples, [2**k + d for k in range(8, 21) for d in (-1, 0, 1)]
    )
    padded = np.array([pipeline.bucket_samples(n) for n in n_samples.tolist()])
    assert (padded >= n_samples).all()
    assert (padded % 160 == 0).all()
    assert (np.diff(padded) >= 0).all()
    long = n_samples > 8000
    assert (padded[long] <= 1.25 * n_samples[long] + 160).all()
    assert (padded[~long] - n_samples[~long] < 1184).all()
    second, minute = n_samples >= 16_000, n_samples <= 960_000
    assert len(set(padded[second & minute])) <= 4 * 6 + 1  # octaves, and both ends
    assert pipeline.bucket_samples(160_000) == 163_840


# Damaged records.


@pytest.fixture(scope="module")
def damage(tmp_path_factory, ramps):
    """rows -> the set with the records of those rows overwritten."""

    def make(*rows):
        folder = tmp_path_factory.mktemp("damaged") / "set"
        shutil.copytree(ramps.path, folder)
        for row in rows:
            samples = ramps.read_audio(row).tobytes()[:200]
            for path in folder.glob("*.array_record-*"):
                content = path.read_bytes()
                path.write_bytes(content.replace(samples, b"\xa5" * 200))
        return PreparedSet(folder)

    return make


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
