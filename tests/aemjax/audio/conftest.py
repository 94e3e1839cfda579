import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.audio import read
from tests.aemjax.audio.clips import CLASSES, ROWS, SAMPLES


@pytest.fixture(scope="module")
def batch():
    """Standardised clips, and labels of one class each."""
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(ROWS, SAMPLES)).astype(np.float32)
    audio = np.stack([read.standardize(row) for row in audio])
    labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, ROWS)]
    return jnp.asarray(audio), jnp.asarray(labels)
