import itertools

import numpy as np
import pytest

from aemjax.data import sound_families, sounds
from aemjax.data.synthetic import (
    covid19sounds,
    dcase2013,
    esc50,
    files,
    icbhi2017,
    manifest,
    tau2020,
    urbansound8k,
)
from tests.aemjax.data import listening

CLASSES = {
    "audioset": sounds.CLASSES,
    "covid19sounds": tuple(covid19sounds.SOUNDS.values()),
    "icbhi2017": icbhi2017.CLASSES,
} | {
    module.__name__.rpartition(".")[2]: module.CLASSES
    for module in (dcase2013, esc50, manifest, tau2020, urbansound8k)
}

RATE = 16000


def _make(number, *, seed=0, n_samples=RATE, sample_rate=RATE, **options):
    rng = np.random.default_rng([seed, number])
    return sounds.sound(number, rng, n_samples, sample_rate, **options)


def test_there_are_enough_distinct_classes():
    names = [c.name for c in sounds.sound_classes(527)]
    assert len(sounds.CLASSES) >= 50 and len(esc50.CLASSES) == 50
    assert len(set(names)) == 527
    assert names[: len(sounds.CLASSES)] == [c.name for c in sounds.CLASSES]
    assert {c.family for c in sounds.CLASSES} == set(sound_families.FAMILIES)


def test_no_class_of_one_twin_is_a_class_of_another():
    def content(sound_class):
        return sound_class.family, tuple(sorted(sound_class.region.items()))

    found = {name: {content(c) for c in classes} for name, classes in CLASSES.items()}
    assert {name: len(own) for name, own in found.items()} == {
        name: len(classes) for name, classes in CLASSES.items()
    }
    for one, other in itertools.combinations(CLASSES, 2):
        assert not found[one] & found[other]
    assert {c.family for c in esc50.CLASSES} == set(sound_families.FAMILIES)


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_every_class_is_finite_audible_and_unclipped(classes, sample_rate):
    for number in range(len(classes)):
        wave = _make(
            number, n_samples=sample_rate, sample_rate=sample_rate, classes=classes
        )
        assert wave.shape == (sample_rate,) and wave.dtype == np.float32
        assert np.isfinite(wave).all()
        assert 0.02 < np.abs(wave).max() < 1


def test_treatments_keep_sounds_finite_and_change_them():
    classes = sounds.sound_classes(527)
    for number in range(0, 527, 9):
        plain = _make(number % len(sounds.CLASSES), seed=number, n_samples=24000)
        wave = sounds.sound(
            number,
            np.random.default_rng([number, number % len(sounds.CLASSES)]),
            24000,
            RATE,
            classes=classes,
        )
        assert np.isfinite(wave).all() and np.abs(wave).max() < 1
        assert (classes[number].treatment == "plain") == np.array_equal(plain, wave)


@pytest.mark.parametrize("n_samples", [16, 400, 4000, 40001])
def test_any_length_works(n_samples):
    for number in range(len(sounds.CLASSES)):
        wave = _make(number, n_samples=n_samples)
        assert wave.shape == (n_samples,) and np.isfinite(wave).all()


def test_equal_generators_give_equal_clips():
    assert np.array_equal(_make(3), _make(3))
    assert not np.array_equal(_make(3), _make(3, seed=1))


def test_takes_of_one_source_share_their_recording_chain():
    """Mean spectra of takes are closer than those of other sources of the class."""

    def spectrum(source, take):
        wave = sounds.sound(
            0,
            files.stream(source, take),
            RATE,
            RATE,
            source_rng=files.stream(source),
        )
        return listening.log_mel(wave, RATE).mean(0)

    first = np.stack([spectrum(n, 1) for n in range(20)])
    second = np.stack([spectrum(n, 2) for n in range(20)])
    first -= first.mean(1, keepdims=True)
    second -= second.mean(1, keepdims=True)
    distance = np.linalg.norm(first[:, None] - second[None], axis=-1)
    assert (distance.argmin(1) == np.arange(20)).mean() > 0.7


def test_rising_and_falling_differ_in_time_only():
    """The frequency of a rising chirp's peak grows within an event, a falling one's
    shrinks, while both cover the same band."""
    wave = {}
    for contour in ("rising", "falling"):
        rng = np.random.default_rng(0)
        pitch = 2 ** sound_families.CONTOURS[contour](np.linspace(0, 1, RATE))
        wave[contour] = sound_families._carrier(
            rng, rng, 1000 * pitch, RATE, tonal=True
        )
    halves = {
        k: [np.abs(np.fft.rfft(h)).argmax() for h in np.split(w, 2)]
        for k, w in wave.items()
    }
    assert halves["rising"][0] < 500 < halves["rising"][1]
    assert halves["falling"][1] < 500 < halves["falling"][0]


def test_a_breath_can_have_wheezes_and_crackles_at_once():
    def sound(adds):
        return sound_families.FAMILIES["breath"](
            *(np.random.default_rng(n) for n in range(2)),
            2 * RATE,
            RATE,
            centre_hz=800.0,
            cycle_s=(1.0, 1.0),
            adds=adds,
            window=(0.1, 0.5),
        )

    def peakedness(wave):
        return np.mean(wave**4) / np.mean(wave**2) ** 2

    wheezing = sound("wheeze")
    wheeze, crackles = wheezing - sound(None), sound("wheeze and crackles") - wheezing
    inside = wheeze != 0
    assert 0.3 < inside.mean() < 0.5 and not crackles[~inside].any()
    assert peakedness(wheeze[inside]) < 8 < 16 < peakedness(crackles[inside])


@pytest.mark.parametrize("rhythm", [*sound_families.RHYTHMS, "random", "clustered"])
def test_rhythms_keep_their_rate(rhythm):
    rng = np.random.default_rng(0)
    onsets_s = sound_families._onsets_s(rng, rhythm, 5.0, 200.0)
    assert (np.diff(onsets_s) > 0).all() and onsets_s[-1] < 200
    assert 850 < onsets_s.size < 1150


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="class 54 is not in 0..53"):
        _make(len(sounds.CLASSES))
    with pytest.raises(ValueError, match="15 samples at 16000 Hz"):
        _make(0, n_samples=15)
    with pytest.raises(ValueError, match="8000 Hz"):
        _make(0, sample_rate=8000)
    with pytest.raises(ValueError, match="541 sound classes"):
        sounds.sound_classes(541)
