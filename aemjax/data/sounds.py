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
Range = tuple[float, float]

# Mean power of the sound over that of the background, drawn uniformly.
SNR_DB = (0.0, 24.0)


class SoundClass(NamedTuple):
    """A family and a region of its parameters; (low, high) pairs are ranges."""

    name: str
    family: str
    region: Mapping[str, Any]
    centre_hz: float = 800.0
    treatment: str = "plain"


def glide(name: str, contour: str, event_s: Range) -> SoundClass:
    """Separate events of one pitch contour; `event_s` is how long each lasts."""
    return SoundClass(name, "glide", {"contour": contour, "event_s": event_s})


def tremolo(name: str, shape: str, rate_hz: Range) -> SoundClass:
    """A steady sound whose level follows a modulator."""
    return SoundClass(name, "tremolo", {"shape": shape, "rate_hz": rate_hz})


def warble(name: str, shape: str, rate_hz: Range, octaves: Range) -> SoundClass:
    """A steady sound whose pitch follows a modulator, over so many octaves."""
    region = {"shape": shape, "rate_hz": rate_hz, "octaves": octaves}
    return SoundClass(name, "warble", region)


def knocks(
    name: str, rhythm: str, rate_hz: Range, accents: tuple[float, ...] = (1.0,)
) -> SoundClass:
    """Strokes in a rhythm, on average `rate_hz` of them; `accents` repeat."""
    region = {"rhythm": rhythm, "rate_hz": rate_hz, "accents": accents}
    return SoundClass(name, "knocks", region)


def bursts(name: str, shape: str, rhythm: str, rate_hz: Range) -> SoundClass:
    """Puffs of noise in a rhythm."""
    region = {"shape": shape, "rhythm": rhythm, "rate_hz": rate_hz}
    return SoundClass(name, "bursts", region)


def crackle(name: str, rhythm: str, rate_hz: Range) -> SoundClass:
    """Irregular clicks, on average `rate_hz` of them."""
    return SoundClass(name, "crackle", {"rhythm": rhythm, "rate_hz": rate_hz})


def breath(name: str, cycle_s: Range, **region: Any) -> SoundClass:
    """Breathing; `adds` "wheeze" or "crackles" in a `window` of the cycle."""
    return SoundClass(name, "breath", {"cycle_s": cycle_s} | region)


def with_centres(classes: Sequence[SoundClass]) -> tuple[SoundClass, ...]:
    """Gives the classes in turn one of five pitch centres, 0.7 octaves apart.

    A class spreads over one and a half octaves and shares its centre with every fifth
    class, so that, as with real sounds, the spectrum is a hint and no more.
    """
    return tuple(
        c._replace(centre_hz=800.0 * 2 ** (0.7 * (2 * n % 5 - 2)))
        for n, c in enumerate(classes)
    )


# Rates in Hz, event lengths in s, depths in octaves. The gaps between the regions keep
# neighbouring classes apart, and leave room for the regions of other twins.
_FAST_S, _SLOW_S, _BREATH_S = (0.1, 0.18), (0.5, 0.9), (0.9, 1.3)
_SLOW_HZ, _BRISK_HZ, _FAST_HZ = (3.0, 4.5), (8.0, 11.0), (20.0, 28.0)
_SHALLOW, _DEEP = (0.1, 0.2), (0.5, 0.8)

# Ordered so that every prefix mixes the families and holds pairs of near classes.
CLASSES: tuple[SoundClass, ...] = with_centres(
    (
        glide("fast rising chirp", "rising", _FAST_S),
        glide("slow rising chirp", "rising", _SLOW_S),
        tremolo("slow trill", "sine", _SLOW_HZ),
        tremolo("slow stutter", "gate", _SLOW_HZ),
        warble("shallow slow warble", "sine", _SLOW_HZ, _SHALLOW),
        warble("deep slow warble", "sine", _SLOW_HZ, _DEEP),
        knocks("slow even knocks", "even", (1.8, 2.8)),
        knocks("fast even knocks", "even", (6.0, 8.0)),
        bursts("slow puffs", "struck", "even", (1.5, 2.2)),
        bursts("slow reversed puffs", "swelling", "even", (1.5, 2.2)),
        crackle("sparse crackles", "random", (9.0, 16.0)),
        crackle("dense crackles", "random", (50.0, 80.0)),
        breath("slow breath", (1.5, 2.0)),
        breath("breath, wheezing in", _BREATH_S, adds="wheeze", window=(0.03, 0.4)),
        glide("fast falling chirp", "falling", _FAST_S),
        glide("slow falling chirp", "falling", _SLOW_S),
        warble("shallow brisk warble", "sine", _BRISK_HZ, _SHALLOW),
        warble("deep brisk warble", "sine", _BRISK_HZ, _DEEP),
        tremolo("slow strumming", "struck", _SLOW_HZ),
        tremolo("slow reversed strumming", "swelling", _SLOW_HZ),
        knocks("paired knocks", "paired", (3.0, 4.5)),
        knocks("tripled knocks", "tripled", (3.0, 4.5)),
        glide("fast arching chirp", "arching", _FAST_S),
        glide("slow arching chirp", "arching", _SLOW_S),
        warble("shallow fast warble", "sine", _FAST_HZ, _SHALLOW),
        warble("deep fast warble", "sine", _FAST_HZ, _DEEP),
        breath("breath, wheezing out", _BREATH_S, adds="wheeze", window=(0.47, 0.88)),
        breath("fast breath", (0.5, 0.7)),
        glide("fast dipping chirp", "dipping", _FAST_S),
        glide("slow dipping chirp", "dipping", _SLOW_S),
        tremolo("brisk trill", "sine", _BRISK_HZ),
        tremolo("brisk strumming", "struck", _BRISK_HZ),
        warble("two-tone siren", "square", (1.2, 2.0), _DEEP),
        warble("two-tone alarm", "square", (4.0, 6.0), _DEEP),
        knocks("galloping knocks", "galloping", (4.5, 6.5)),
        knocks("accelerating knocks", "accelerating", (4.0, 6.0)),
        bursts("fast puffs", "struck", "even", (5.0, 7.0)),
        bursts("fast reversed puffs", "swelling", "even", (5.0, 7.0)),
        crackle("rain of clicks", "random", (250.0, 500.0)),
        crackle("clusters of clicks", "clustered", (30.0, 50.0)),
        glide("fast three steps up chirp", "three steps up", _FAST_S),
        glide("slow three steps up chirp", "three steps up", _SLOW_S),
        warble("slow rising siren", "up", (0.8, 1.2), _DEEP),
        warble("slow falling siren", "down", (0.8, 1.2), _DEEP),
        breath("breath, early crackles", _BREATH_S, adds="crackles", window=(0.0, 0.2)),
        breath("breath, late crackles", _BREATH_S, adds="crackles", window=(0.3, 0.5)),
        tremolo("brisk reversed strumming", "swelling", _BRISK_HZ),
        tremolo("fast trill", "sine", _FAST_HZ),
        knocks("slowing knocks", "slowing", (4.0, 6.0)),
        knocks("random knocks", "random", (3.0, 5.0)),
        glide("fast three steps down chirp", "three steps down", _FAST_S),
        glide("slow three steps down chirp", "three steps down", _SLOW_S),
        warble("fast rising siren", "up", _SLOW_HZ, _DEEP),
        warble("fast falling siren", "down", _SLOW_HZ, _DEEP),
    )
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


def _around_peak(wave: Wave, sr: int) -> Wave:
    distance = np.abs(np.arange(wave.size) - np.abs(wave).argmax())
    return wave * (distance < 0.15 * wave.size)


# What else can happen to a sound; crossed with the classes it gives ever more of them.
TREATMENTS: dict[str, Callable[[Wave, int], Wave]] = {
    "plain": lambda wave, sr: wave,
    "echoing": _echo(0.23, 0.6),
    "muffled": _filtered(500.0, "lowpass"),
    "thin": _filtered(2500.0, "highpass"),
    "distorted": lambda wave, sr: np.tanh(4 * wave / (wave.std() + 1e-9)),
    "fading": lambda wave, sr: wave * np.geomspace(1, 0.02, wave.size),
    "approaching": lambda wave, sr: wave * np.geomspace(0.02, 1, wave.size),
    "brief": _around_peak,
    "returning": lambda wave, sr: wave * np.abs(np.linspace(-1, 1, wave.size)),
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
