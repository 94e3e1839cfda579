"""Synthetic sound classes and single clips of them.

`CLASSES` are the classes of the AudioSet twin; `sound_classes` crosses them with
treatments (echoing, muffled, ...) for as many as are wanted. The families that the
classes are regions of, and what they leave to chance, are in `sound_families`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import scipy.signal
from jaxtyping import Float, Float32

from aemjax.data import sound_families

Rng = np.random.Generator
Wave = Float[np.ndarray, " t"]


# Mean power of the sound over that of the background, drawn uniformly.
SNR_DB = (0.0, 24.0)


class SoundClass(NamedTuple):
    """A family and a region of its parameters; (low, high) pairs are ranges."""

    name: str
    family: str
    region: Mapping[str, Any]
    centre_hz: float = 800.0
    treatment: str = "plain"


# Rates are in Hz. The gaps between slow, medium and fast regions keep neighbouring
# classes apart, and leave room for the regions of the sets that are fine-tuned on.
_FAST_S, _SLOW_S = (0.1, 0.18), (0.5, 0.9)
_SLOW_HZ, _MEDIUM_HZ, _FAST_HZ = (3.0, 4.5), (8.0, 11.0), (20.0, 28.0)
_SHALLOW, _DEEP = (0.1, 0.2), (0.5, 0.8)


def _glides() -> list[SoundClass]:
    lasts_s = {"fast": _FAST_S, "slow": _SLOW_S}
    contours = ("rising", "falling", "arching", "dipping", "three steps up")
    return [
        SoundClass(
            f"{speed} {contour} chirp",
            "glide",
            {"contour": contour, "event_s": lasts_s[speed]},
        )
        for contour in (*contours, "three steps down")
        for speed in lasts_s
    ]


def _tremolos() -> list[SoundClass]:
    rates = {"slow": _SLOW_HZ, "medium": _MEDIUM_HZ, "fast": _FAST_HZ}
    kinds = {
        "slow": ("sine", "gate", "struck", "swelling"),
        "medium": ("sine", "struck", "swelling"),
        "fast": ("sine",),
    }
    return [
        SoundClass(
            f"{speed} {shape} tremolo",
            "tremolo",
            {"shape": shape, "rate_hz": rates[speed]},
        )
        for speed, shapes in kinds.items()
        for shape in shapes
    ]


def _warbles() -> list[SoundClass]:
    rates = {"slow": _SLOW_HZ, "medium": _MEDIUM_HZ, "fast": _FAST_HZ}
    depths = {"shallow": _SHALLOW, "deep": _DEEP}
    warbles = [
        SoundClass(
            f"{depth} {speed} warble",
            "warble",
            {"shape": "sine", "rate_hz": rate, "octaves": depths[depth]},
        )
        for speed, rate in rates.items()
        for depth in depths
    ]
    sirens = {
        "two-tone siren": ("square", (1.2, 2.0)),
        "two-tone alarm": ("square", (4.0, 6.0)),
        "slow rising siren": ("up", (0.8, 1.2)),
        "slow falling siren": ("down", (0.8, 1.2)),
        "fast rising siren": ("up", _SLOW_HZ),
        "fast falling siren": ("down", _SLOW_HZ),
    }
    return warbles + [
        SoundClass(name, "warble", {"shape": shape, "rate_hz": rate, "octaves": _DEEP})
        for name, (shape, rate) in sirens.items()
    ]


def _strokes() -> list[SoundClass]:
    knocks = {
        "slow even knocks": ("even", (1.8, 2.8)),
        "fast even knocks": ("even", (6.0, 8.0)),
        "paired knocks": ("paired", (3.0, 4.5)),
        "tripled knocks": ("tripled", (3.0, 4.5)),
        "galloping knocks": ("galloping", (4.5, 6.5)),
        "accelerating knocks": ("accelerating", (4.0, 6.0)),
        "slowing knocks": ("slowing", (4.0, 6.0)),
        "random knocks": ("random", (3.0, 5.0)),
    }
    crackles = {
        "sparse crackles": ("random", (9.0, 16.0)),
        "dense crackles": ("random", (50.0, 80.0)),
        "rain of clicks": ("random", (250.0, 500.0)),
        "clusters of clicks": ("clustered", (30.0, 50.0)),
    }
    bursts = {"slow": (1.5, 2.2), "fast": (5.0, 7.0)}
    return (
        [
            SoundClass(name, "knocks", {"rhythm": rhythm, "rate_hz": rate})
            for name, (rhythm, rate) in knocks.items()
        ]
        + [
            SoundClass(name, "crackle", {"rhythm": rhythm, "rate_hz": rate})
            for name, (rhythm, rate) in crackles.items()
        ]
        + [
            SoundClass(
                f"{speed} {shape} bursts",
                "bursts",
                {"shape": shape, "rhythm": "even", "rate_hz": rate},
            )
            for speed, rate in bursts.items()
            for shape in ("struck", "swelling")
        ]
    )


def _breaths() -> list[SoundClass]:
    regions = {
        "slow breath": {"cycle_s": (1.5, 2.0)},
        "fast breath": {"cycle_s": (0.5, 0.7)},
        "breath, wheeze in": {"adds": "wheeze", "window": (0.03, 0.4)},
        "breath, wheeze out": {"adds": "wheeze", "window": (0.47, 0.88)},
        "breath, early crackles": {"adds": "crackles", "window": (0.0, 0.2)},
        "breath, late crackles": {"adds": "crackles", "window": (0.25, 0.45)},
    }
    return [
        SoundClass(name, "breath", {"cycle_s": (0.9, 1.3)} | region)
        for name, region in regions.items()
    ]


def with_centres(classes: Sequence[SoundClass]) -> tuple[SoundClass, ...]:
    """Gives the classes in turn one of five pitch centres, 0.7 octaves apart.

    The spread within a class is wider than all five, so that, as with real sounds,
    the spectrum is a hint and no more.
    """
    return tuple(
        c._replace(centre_hz=800.0 * 2 ** (0.7 * (2 * n % 5 - 2)))
        for n, c in enumerate(classes)
    )


CLASSES: tuple[SoundClass, ...] = with_centres(
    [*_glides(), *_tremolos(), *_warbles(), *_strokes(), *_breaths()]
)


def _filtered(edge_hz: float, kind: str) -> Callable[[Wave, int], Wave]:
    def apply(wave: Wave, sr: int) -> Wave:
        sections = scipy.signal.butter(2, edge_hz, kind, fs=sr, output="sos")
        return scipy.signal.sosfilt(sections, wave)

    return apply


def _echo(delay_s: float, gain: float) -> Callable[[Wave, int], Wave]:
    def apply(wave: Wave, sr: int) -> Wave:
        result = wave.copy()
        for n in (1, 2, 3):
            shift = min(round(n * delay_s * sr), wave.size)
            result[shift:] += gain**n * wave[: wave.size - shift]
        return result

    return apply


def _clip(wave: Wave, sr: int) -> Wave:
    limit = 0.5 * np.sqrt(np.mean(wave**2))
    return np.clip(wave, -limit, limit)


# What else can happen to a sound; crossed with the classes it gives ever more of them.
TREATMENTS: dict[str, Callable[[Wave, int], Wave]] = {
    "plain": lambda wave, sr: wave,
    "echoing": _echo(0.23, 0.6),
    "muffled": _filtered(500.0, "lowpass"),
    "thin": _filtered(2500.0, "highpass"),
    "distorted": _clip,
    "fading": lambda wave, sr: wave * np.geomspace(1, 0.02, wave.size),
    "approaching": lambda wave, sr: wave * np.geomspace(0.02, 1, wave.size),
    "brief": lambda wave, sr: wave * (np.arange(wave.size) < 0.3 * wave.size),
    "interrupted": lambda wave, sr: (
        wave * (np.abs(np.linspace(-1, 1, wave.size)) > 0.25)
    ),
    "metallic": _echo(0.004, 0.9),
}


def sound_classes(count: int) -> tuple[SoundClass, ...]:
    """The first `count` classes: `CLASSES`, then `CLASSES` with each treatment.

    Raises:
        ValueError: if there are not that many.
    """
    if not 1 <= count <= len(CLASSES) * len(TREATMENTS):
        raise ValueError(
            f"{count} sound classes asked for; there are 1 to "
            f"{len(CLASSES) * len(TREATMENTS)}"
        )
    return tuple(
        c if t == "plain" else c._replace(name=f"{c.name}, {t}", treatment=t)
        for t in TREATMENTS
        for c in CLASSES
    )[:count]


def dry(
    sound_class: SoundClass,
    rng: Rng,
    n_samples: int,
    sample_rate: int,
    *,
    source_rng: Rng | None = None,
) -> Wave:
    """The sound alone: no background, no recording chain, RMS 1 where it sounds.

    It begins within the first quarter of the clip and lasts 60 to 100 % of the rest.
    """
    source_rng = rng if source_rng is None else source_rng
    family = sound_families.FAMILIES[sound_class.family]
    start = int(n_samples * 0.25 * rng.random() ** 2)
    size = max(int((n_samples - start) * rng.uniform(0.6, 1)), min(n_samples, 16))
    start = min(start, n_samples - size)
    wave = family(
        source_rng,
        rng,
        size,
        sample_rate,
        centre_hz=sound_class.centre_hz,
        **sound_class.region,
    )
    wave = TREATMENTS[sound_class.treatment](wave, sample_rate)
    fade = np.minimum(np.arange(size), np.arange(size)[::-1]) / (0.005 * sample_rate)
    wave *= np.minimum(fade, 1) / (np.sqrt(np.mean(wave**2)) + 1e-9)
    return np.pad(wave, (start, n_samples - size - start))


def record(
    wave: Wave, rng: Rng, sample_rate: int, *, source_rng: Rng | None = None
) -> Float32[np.ndarray, " t"]:
    """Equalises `wave`, adds a coloured background, sets a level with peak below 1.

    Background: `SNR_DB` below the sound. Equaliser: smooth, 2.5 dB standard deviation
    in each of six bands and 1 dB per octave in tilt.
    """
    source_rng = rng if source_rng is None else source_rng
    size = scipy.fft.next_fast_len(wave.size, real=True)
    octaves = np.log2(
        np.maximum(np.arange(size // 2 + 1) * (sample_rate / size), 30.0) / 1000
    )
    beyond = np.maximum(octaves - np.log2(8), 0)  # above 8 kHz everything fades
    knots = np.linspace(-4, 3, 6)
    gains_db = source_rng.normal(0, 2.5, (2, 6))
    gains_db += source_rng.normal(0, [[1.0], [3.0]]) * knots
    eq_db, colour_db = (
        np.interp(octaves, knots, gain_db) - 24 * beyond for gain_db in gains_db
    )
    sound = scipy.fft.rfft(wave, size) * 10 ** (eq_db / 20)
    noise = rng.normal(size=(2, octaves.size)) * 10 ** (colour_db / 20)
    snr_db = source_rng.uniform(*SNR_DB)
    power = np.sum(np.abs(sound) ** 2) / (np.sum(noise**2) + 1e-9)
    noise *= np.sqrt(power) * 10 ** (-snr_db / 20)
    result = scipy.fft.irfft(sound + noise[0] + 1j * noise[1], size)[: wave.size]
    peak = 10 ** (rng.uniform(-26, -1) / 20)
    return (result * (peak / (np.abs(result).max() + 1e-9))).astype(np.float32)


def sound(
    class_number: int,
    rng: Rng,
    n_samples: int,
    sample_rate: int,
    *,
    classes: Sequence[SoundClass] = CLASSES,
    source_rng: Rng | None = None,
) -> Float32[np.ndarray, " t"]:
    """One clip of one class, `n_samples` long, in (-1, 1).

    With `source_rng`, clips made with equal ones are takes of one source.

    Raises:
        ValueError: for a class number outside `classes`, fewer than 16 samples, or a
            sample rate below 16 kHz, where the sounds would not fit.
    """
    if not 0 <= class_number < len(classes):
        raise ValueError(f"class {class_number} is not in 0..{len(classes) - 1}")
    if n_samples < 16 or sample_rate < 16000:
        raise ValueError(
            f"{n_samples} samples at {sample_rate} Hz; "
            "need at least 16 samples and 16000 Hz"
        )
    wave = dry(
        classes[class_number], rng, n_samples, sample_rate, source_rng=source_rng
    )
    return record(wave, rng, sample_rate, source_rng=source_rng)
