"""Synthetic sound classes that differ in how they move, not in their spectrum.

A class is a family (glide, tremolo, knocks, breath, ...) and a region of its
parameters (direction, rate, rhythm, ...). All that a mean spectrum shows is drawn
widely inside every class: pitch, timbre, tonal or noisy, level, onset, duration,
equalisation, background. What tells classes apart is mostly the course in time.

Each draw comes from one of two generators: `source_rng` for what belongs to the
thing that sounds and its recording chain (pitch, timbre, exact rate, equalisation,
background), `rng` for the single take (onsets, small deviations, the noise itself).
Two takes of one source are made with equal `source_rng` and different `rng`.
"""

from collections.abc import Callable

import numpy as np
import scipy.signal
from jaxtyping import Float

Rng = np.random.Generator
Wave = Float[np.ndarray, " t"]

# Carriers, resonances and equalisers stay below this, so that a clip made at
# 16 kHz and one made at 48 kHz sound alike.
TOP_HZ = 7000.0

# Pitch within a class, against the centre of the class: one and a half octaves in all.
SPREAD = (0.6, 1.67)


# Pitch against event time u in [0, 1], in units of the drawn span, centred on 0.
CONTOURS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rising": lambda u: u - 0.5,
    "falling": lambda u: 0.5 - u,
    "arching": lambda u: 0.5 - np.abs(2 * u - 1),
    "dipping": lambda u: np.abs(2 * u - 1) - 0.5,
    "late rising": lambda u: u**4 - 0.5,
    "early rising": lambda u: 0.5 - (1 - u) ** 4,
    "late falling": lambda u: 0.5 - u**4,
    "early falling": lambda u: (1 - u) ** 4 - 0.5,
    "three steps up": lambda u: np.floor(2.999 * u) / 2 - 0.5,
    "three steps down": lambda u: 0.5 - np.floor(2.999 * u) / 2,
    "two steps up": lambda u: np.floor(1.999 * u) - 0.5,
    "two steps down": lambda u: 0.5 - np.floor(1.999 * u),
    "hopping": lambda u: np.where(np.abs(u - 0.5) < 0.17, 0.5, -0.5),
    "ducking": lambda u: np.where(np.abs(u - 0.5) < 0.17, -0.5, 0.5),
}

# One period of a modulator against its phase p in [0, 1), in [0, 1].
MODULATORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sine": lambda p: 0.5 - 0.5 * np.cos(2 * np.pi * p),
    "gate": lambda p: np.clip(4.5 - np.abs(p - 0.5) * 18, 0, 1),
    "struck": lambda p: np.minimum(p * 20, 1) * (1 - p) ** 2,
    "swelling": lambda p: p**2 * np.minimum((1 - p) * 20, 1),
    "triangle": lambda p: 1 - np.abs(2 * p - 1),
    "square": lambda p: (p < 0.5).astype(p.dtype),
    "up": lambda p: p,
    "down": lambda p: 1 - p,
}

# Intervals between strokes, in mean intervals; each pattern repeats.
RHYTHMS: dict[str, tuple[float, ...]] = {
    "even": (1.0,),
    "paired": (0.4, 1.6),
    "tripled": (0.4, 0.4, 2.2),
    "fourfold": (0.4, 0.4, 0.4, 2.8),
    "limping": (0.65, 1.35),
    "galloping": (0.6, 0.6, 1.8),
    "accelerating": tuple(np.geomspace(2.2, 0.35, 8)),
    "slowing": tuple(np.geomspace(0.35, 2.2, 8)),
}


def _pick(source_rng: Rng, bounds: tuple[float, float]) -> float:
    """Log-uniform."""
    low, high = bounds
    return low * (high / low) ** source_rng.random()


def _carrier(
    source_rng: Rng, rng: Rng, hz: Wave, sr: int, *, tonal: bool = False
) -> Wave:
    """A tone, a narrow band of noise or both, following the frequency `hz`."""
    harmonics = np.arange(1, 17)
    weights = harmonics ** -source_rng.uniform(0.3, 3) * source_rng.uniform(0.1, 1, 16)
    share, width = source_rng.uniform(-0.4, 1.4), _pick(source_rng, (0.03, 0.5))
    noise_share = 0.0 if tonal else float(np.clip(share, 0, 1))
    phase = np.cumsum(hz) / sr
    # Partials that would leave the band are left out; the first always stays.
    weights *= (harmonics * hz.max() < TOP_HZ) | (harmonics == 1)
    spectrum = np.zeros(2049, complex)
    spectrum[1:17] = weights / np.sqrt(np.sum(weights**2) / 2)
    table = np.fft.irfft(spectrum * np.exp(2j * np.pi * rng.random())) * 2048
    wave = (1 - noise_share) * table[(phase * 4096).astype(np.int64) & 4095]
    if noise_share:
        # Two slow random signals around a complex carrier: a band that follows hz.
        knots = rng.normal(size=(2, int(hz.mean() * width * hz.size / sr) + 3))
        at = np.linspace(0, knots.shape[1] - 1, hz.size)
        angle = 2 * np.pi * phase
        band = np.cos(angle) * np.interp(at, np.arange(knots.shape[1]), knots[0])
        band += np.sin(angle) * np.interp(at, np.arange(knots.shape[1]), knots[1])
        wave += noise_share * 1.2 * band
    return wave


def _pitch_hz(source_rng: Rng, rng: Rng, centre_hz: float) -> float:
    return centre_hz * _pick(source_rng, SPREAD) * 2 ** rng.normal(0, 0.04)


def _resonate(
    source_rng: Rng, wave: Wave, sr: int, *, centre_hz: float, decay_s: float
) -> Wave:
    """Three damped modes, or with a short `decay_s` three broad bands."""
    centre_hz *= _pick(source_rng, SPREAD)
    total = np.zeros_like(wave)
    for _ in range(3):
        hz = min(centre_hz * _pick(source_rng, (0.5, 2.5)), TOP_HZ)
        gain = source_rng.uniform(0.2, 1)
        radius = np.exp(-1 / (decay_s * _pick(source_rng, (0.6, 1.4)) * sr))
        poles = [1, -2 * radius * np.cos(2 * np.pi * hz / sr), radius**2]
        total += scipy.signal.lfilter([gain * (1 - radius)], poles, wave)
    return total


def _noise(source_rng: Rng, rng: Rng, size: int, sr: int, centre_hz: float) -> Wave:
    decay_s = _pick(source_rng, (0.0003, 0.002))
    wave = rng.normal(size=size)
    wave = _resonate(source_rng, wave, sr, centre_hz=centre_hz, decay_s=decay_s)
    return wave / (wave.std() + 1e-9)


def _onsets_s(rng: Rng, rhythm: str, rate_hz: float, end_s: float) -> np.ndarray:
    """Stroke times with 3 % jitter, starting somewhere in the first interval.

    A time too short for the first stroke gets one in its middle.
    """
    count = int(end_s * rate_hz * 1.5) + 16
    if rhythm == "random":
        gaps = rng.exponential(1, count)
    elif rhythm == "clustered":
        gaps = np.where(rng.random(count) < 0.12, rng.uniform(5, 9, count), 0.2)
    else:
        gaps = np.resize(RHYTHMS[rhythm], count) * rng.normal(1, 0.03, count)
    times = (np.cumsum(gaps) - gaps[0] * rng.random()) / rate_hz
    return times[times < end_s] if times[0] < end_s else np.array([end_s / 2])


def _event_time(onsets_s: np.ndarray, lasts_s: np.ndarray, size: int, sr: int) -> Wave:
    """Time in the current event, 0 to 1; 1 and above means between events."""
    starts = np.round(onsets_s * sr).astype(int)
    lengths = np.diff(np.append(starts, size))
    age = np.arange(starts[0], size) - np.repeat(starts, lengths)
    u = np.full(size, 1.0)
    u[starts[0] :] = age / np.repeat(lasts_s * sr, lengths)
    return u


def _hump(u: Wave, peak: float) -> Wave:
    """Rises until `peak`, then falls; 0 outside [0, 1]."""
    return np.clip(np.minimum(u / peak, (1 - u) / (1 - peak)), 0, 1) ** 0.7


def _glide(source_rng, rng, size, sr, *, centre_hz, contour, event_s):
    """Separate events, each with the same course of pitch."""
    event_s, span = _pick(source_rng, event_s), _pick(source_rng, (0.6, 1.4))
    gap_s = event_s * source_rng.uniform(0.3, 1.2)
    hz, peak = _pitch_hz(source_rng, rng, centre_hz), source_rng.uniform(0.1, 0.9)
    count = int(size / sr / event_s) + 2
    lasts_s = event_s * rng.uniform(0.9, 1.1, count)
    gaps_s = gap_s * rng.uniform(0.6, 1.4, count)
    onsets_s = np.cumsum(lasts_s + gaps_s) - lasts_s[0] - gaps_s[0] * rng.random()
    keep = onsets_s < max(size / sr - event_s, 0.01)
    if not keep.any():
        onsets_s[0], keep[0] = 0.0, True
    u = _event_time(onsets_s[keep], lasts_s[keep], size, sr)
    pitch = hz * 2 ** (span * CONTOURS[contour](np.clip(u, 0, 1)))
    return _carrier(source_rng, rng, pitch, sr) * _hump(u, peak)


def _modulation(rng, rate_hz, size, sr, shape):
    drift = np.interp(np.arange(size), np.linspace(0, size, 6), rng.normal(1, 0.05, 6))
    return MODULATORS[shape]((rng.random() + np.cumsum(drift) * (rate_hz / sr)) % 1)


def _tremolo(source_rng, rng, size, sr, *, centre_hz, shape, rate_hz):
    """A steady sound whose level is modulated."""
    rate_hz, depth = _pick(source_rng, rate_hz), source_rng.uniform(0.75, 1)
    course = np.cumsum(rng.normal(0, 0.08, 6)) + np.log2(
        _pitch_hz(source_rng, rng, centre_hz)
    )
    hz = 2 ** np.interp(np.arange(size), np.linspace(0, size, 6), course)
    level = 1 - depth * (1 - _modulation(rng, rate_hz, size, sr, shape))
    return _carrier(source_rng, rng, hz, sr) * level


def _warble(source_rng, rng, size, sr, *, centre_hz, shape, rate_hz, octaves):
    """A steady sound whose pitch is modulated."""
    rate_hz, octaves = _pick(source_rng, rate_hz), _pick(source_rng, octaves)
    course = _modulation(rng, rate_hz, size, sr, shape) - 0.5
    hz = _pitch_hz(source_rng, rng, centre_hz) * 2 ** (octaves * course)
    return _carrier(source_rng, rng, hz, sr)


def _knocks(source_rng, rng, size, sr, *, centre_hz, rhythm, rate_hz, accents=(1.0,)):
    """Strokes on a damped resonant body."""
    rate_hz = _pick(source_rng, rate_hz)
    at = (_onsets_s(rng, rhythm, rate_hz, size / sr) * sr).astype(int)
    force = np.resize(accents, at.size) * rng.uniform(0.8, 1.2, at.size)
    hits = np.zeros(size + 1)
    stroke = rng.normal(size=(at.size, max(int(0.002 * sr), 1))) * force[:, None]
    np.add.at(hits, np.minimum(at[:, None] + np.arange(stroke.shape[1]), size), stroke)
    decay_s = _pick(source_rng, (0.006, 0.05))
    return _resonate(source_rng, hits[:size], sr, centre_hz=centre_hz, decay_s=decay_s)


def _bursts(source_rng, rng, size, sr, *, centre_hz, shape, rhythm, rate_hz):
    """Puffs of noise, struck (sudden start) or swelling (sudden end)."""
    rate_hz, fill = _pick(source_rng, rate_hz), source_rng.uniform(0.5, 0.9)
    onsets_s = _onsets_s(rng, rhythm, rate_hz, size / sr)
    # A burst ends before the closest next one begins.
    last_s = fill * min(RHYTHMS[rhythm]) / rate_hz
    u = _event_time(onsets_s, np.full(onsets_s.size, last_s), size, sr)
    envelope = np.where(u < 1, MODULATORS[shape](np.clip(u, 0, 1)), 0)
    return _noise(source_rng, rng, size, sr, centre_hz) * envelope


def _crackle(source_rng, rng, size, sr, *, centre_hz, rhythm, rate_hz):
    """Irregular damped clicks of uneven strength, from sparse to rain."""
    rate_hz, decay_s = _pick(source_rng, rate_hz), _pick(source_rng, (0.001, 0.006))
    at = (_onsets_s(rng, rhythm, rate_hz, size / sr) * sr).astype(int)
    clicks = np.zeros(size)
    clicks[at] = rng.normal(size=at.size) * rng.lognormal(0, 0.5, at.size)
    return _resonate(source_rng, clicks, sr, centre_hz=centre_hz, decay_s=decay_s)


def _breath(
    source_rng,
    rng,
    size,
    sr,
    *,
    centre_hz,
    cycle_s,
    inhale=0.42,
    adds=None,
    window=None,
):
    """Breathing in and out; `adds` is None, "wheeze", "crackles" or both in words.

    It sounds within `window`, (begin, end) in the cycle; `inhale` is the inhaled share
    of the cycle.
    """
    cycle_s = _pick(source_rng, cycle_s)
    phase = _modulation(rng, 1 / cycle_s, size, sr, "up")
    loud_in, loud_out = source_rng.uniform(0.5, 1, 2)
    wave = _noise(source_rng, rng, size, sr, centre_hz) * (
        loud_in * _hump(phase / inhale, 0.5)
        + loud_out * _hump((phase - inhale - 0.05) / (0.9 - inhale), 0.3)
    )
    if adds is None:
        return wave
    gate = _hump((phase - window[0]) / (window[1] - window[0]), 0.4)
    if "wheeze" in adds:
        hz = _pitch_hz(source_rng, rng, centre_hz) / 2 * (1 + 0.1 * gate)
        wave = wave + 1.2 * gate * _carrier(source_rng, rng, hz, sr, tonal=True)
    if "crackles" in adds:
        click = _crackle(
            source_rng,
            rng,
            size,
            sr,
            centre_hz=centre_hz,
            rhythm="random",
            rate_hz=(25.0, 50.0),
        )
        wave = wave + 3 * gate * click / (np.sqrt(np.mean(click**2)) + 1e-9)
    return wave


FAMILIES: dict[str, Callable[..., np.ndarray]] = {
    "glide": _glide,
    "tremolo": _tremolo,
    "warble": _warble,
    "knocks": _knocks,
    "bursts": _bursts,
    "crackle": _crackle,
    "breath": _breath,
}
