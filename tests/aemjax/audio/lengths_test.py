import numpy as np

from aemjax.audio.lengths import bucket_samples, clip_windows


def test_bucket_samples():
    n_samples = np.unique(np.geomspace(160, 2_000_000, 30_000).astype(int))
    n_samples = np.union1d(
        n_samples, [2**k + d for k in range(8, 21) for d in (-1, 0, 1)]
    )
    padded = np.array([bucket_samples(n) for n in n_samples.tolist()])
    assert (padded >= n_samples).all()
    assert (padded % 160 == 0).all()
    assert (np.diff(padded) >= 0).all()
    long = n_samples > 8000
    assert (padded[long] <= 1.25 * n_samples[long] + 160).all()
    assert (padded[~long] - n_samples[~long] < 1184).all()
    second, minute = n_samples >= 16_000, n_samples <= 960_000
    assert len(set(padded[second & minute])) <= 4 * 6 + 1  # octaves, and both ends
    assert bucket_samples(160_000) == 163_840


def test_windows_of_one_clip():
    sizes = {"window_samples": 400, "hop_samples": 150}
    assert clip_windows(1_000, **sizes) == [(s, 400) for s in (0, 150, 300, 450, 600)]
    assert clip_windows(401, **sizes) == [(0, 400), (1, 400)]
    assert clip_windows(400, **sizes) == [(0, 400)]
    assert clip_windows(170, **sizes) == [(0, 170)]
    assert clip_windows(1_000, window_samples=0, hop_samples=0) == [(0, 1_000)]
