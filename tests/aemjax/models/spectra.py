"""Signals, and the features that librosa makes of one."""

import functools

import jax
import numpy as np

from aemjax.models.layers import BATCH_NORM_EPSILON
from aemjax.models.spectral import SPECTRAL_PRESETS

PRESETS = tuple(SPECTRAL_PRESETS)
SMALL = ("log_mel40", "mfcc40")  # where only the class makes a difference
CHANNELS = {"log_mel": 128, "log_mel40": 40, "mfcc": 128, "mfcc40": 40}
TINY_BACKBONE = "tests.tiny:Backbone"

# (frame, band or coefficient) -> value, of `chirp`, in float64: librosa 0.11.0's
# `preemphasis` (zi=[0]), `stft` (np.hamming(400), centred as here), `melspectrogram`
# (htk=True, norm=None), `mfcc` (norm="ortho"), python_speech_features 0.6's `lifter`.
LIBROSA = {
    "log_mel": {
        (0, 0): -10.49692,
        (0, 127): -8.19718,
        (2, 84): 1.09945,
        (10, 89): 2.69162,
        (12, 64): -10.07495,
        (17, 110): 3.75903,
        (19, 3): -8.07493,
    },
    "log_mel40": {
        (0, 0): -8.62034,
        (0, 39): -7.07408,
        (2, 26): 1.3371,
        (10, 28): 3.37434,
        (12, 20): -8.84357,
        (17, 34): 4.2813,
        (19, 3): -6.63149,
    },
    "mfcc": {
        (0, 0): 16.8207,
        (0, 127): -5.777,
        (2, 84): -7.4107,
        (10, 89): 4.3121,
        (12, 64): 16.4901,
        (17, 110): 1.6334,
        (19, 3): -54.6103,
    },
    "mfcc40": {
        (0, 0): 8.2483,
        (0, 39): 13.6661,
        (2, 26): -4.6447,
        (10, 28): 21.0651,
        (12, 20): -31.0631,
        (17, 34): -19.1208,
        (19, 3): -40.4387,
    },
}


def chirp():
    """0.2 s from 200 Hz to 6.2 kHz, beside 3 kHz."""
    t = np.arange(3_200) / 16_000
    sweep = np.sin(2 * np.pi * (200 * t + 15_000 * t**2))
    return (sweep + 0.3 * np.sin(2 * np.pi * 3_000 * t))[None]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# On inputs this small, LLVM's optimisations take longer than they save.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


class FrontEnd:
    """A front end whose BatchNorm passes everything through, and its compiled forms."""

    def __init__(self, preset, **fields):
        self.module = SPECTRAL_PRESETS[preset](**fields)
        channels = fields.get("coefficients", CHANNELS[preset])
        ones, zeros = np.ones(channels, "float32"), np.zeros(channels, "float32")
        stats = {"mean": zeros, "var": ones - np.float32(BATCH_NORM_EPSILON)}
        self.variables = {
            "params": {"bn": {"scale": ones, "bias": zeros}},
            "batch_stats": {"bn": stats},
        }
        apply = functools.partial(self.module.apply, self.variables)
        self.evaluate = quick_jit(functools.partial(apply, train=False))
        self.train = quick_jit(
            functools.partial(apply, train=True, mutable=["batch_stats"])
        )


front_end = functools.cache(FrontEnd)
