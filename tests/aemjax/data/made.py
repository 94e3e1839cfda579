"""Sounds to prepare, and the bytes of what was prepared."""

import numpy as np


def noise(n_samples, *, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(-20_000, 20_000, n_samples).astype(np.int16)


def shards(folder):
    """name -> bytes of every finished shard."""
    return {
        path.name: path.read_bytes()
        for path in folder.glob("*.array_record-*")
        if path.suffix not in (".json", ".tmp")
    }
