"""Clips that are scored in windows."""

import numpy as np

from aemjax.data.pipeline import eval_batches, windows

ROWS = np.arange(0, 24, 5)


def test_windows_overlap_and_the_last_one_ends_with_the_clip(ramps):
    row = int(np.argmax(ramps.n_samples))
    n_samples = int(ramps.n_samples[row])
    window, hop = n_samples // 2, n_samples // 5
    rows = np.array([row])
    found = windows(ramps, rows, window_samples=window, hop_samples=hop)
    starts = found[:, 1].tolist()
    assert starts == [0, hop, 2 * hop, n_samples - window]
    assert set(found[:, 0]) == {row} and set(found[:, 2]) == {window}
    (whole,) = windows(ramps, rows, window_samples=0, hop_samples=0)
    assert whole.tolist() == [row, 0, n_samples]
    longer = {"window_samples": n_samples, "hop_samples": hop}
    assert windows(ramps, rows, **longer).tolist() == [whole.tolist()]


def test_windows_are_read_from_where_they_begin(ramps):
    window = int(ramps.n_samples[ROWS].min()) // 2
    options = {"window_samples": window, "hop_samples": window // 2}
    expected = {
        (row, tuple(ramps.read_audio(row)[start : start + n]))
        for row, start, n in windows(ramps, ROWS, **options).tolist()
    }
    found = [
        (row, tuple(audio[:length].tolist()))
        for batch in eval_batches(ramps, ROWS, batch_size=4, threads=0, **options)
        for row, audio, length, mask in zip(
            batch["row"].tolist(),
            batch["audio"],
            batch["lengths"],
            batch["mask"],
            strict=True,
        )
        if mask
    ]
    assert len(found) > len(ROWS)
    assert set(found) == expected
