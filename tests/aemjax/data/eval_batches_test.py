"""Batches to evaluate on: every row once."""

import numpy as np
import pytest

from aemjax.audio.lengths import bucket_samples
from tests.aemjax.data.batches import ROWS, assert_equal, evaluate, joined


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
            assert len(audio) == bucket_samples(longest)
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
