"""Audio files that tests write, and measures of what is read."""

import io

import numpy as np
import soundfile as sf

RATE = 16_000


def tone(hz, *, rate=RATE, seconds=1.0, level=0.5):
    t = np.arange(round(rate * seconds)) / rate
    return (level * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def noise(num_samples=RATE, *, level=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return (level * rng.uniform(-1, 1, num_samples)).astype(np.float32)


def encode(samples, *, rate=RATE, **kwargs):
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, **kwargs)
    return buffer.getvalue()


def save(folder, samples, *, rate=RATE, name="clip.wav", **kwargs):
    sf.write(folder / name, samples, rate, **kwargs)
    return folder / name


def fit(audio, hz, *, rate=RATE):
    """Amplitude at `hz`, by projection on one complex exponential."""
    t = np.arange(len(audio)) / rate
    return 2 * abs(np.mean(audio * np.exp(-2j * np.pi * hz * t)))


def rms(audio):
    return float(np.sqrt(np.mean(audio.astype(np.float64) ** 2)))


def middle(audio):
    return audio[len(audio) // 10 : -len(audio) // 10]
