import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aemjax.data import sound_families, sounds
from aemjax.data.synthetic import esc50, files, synthesize

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


def test_no_class_of_one_twin_is_a_class_of_the_other():
    def content(sound_class):
        return sound_class.family, sorted(sound_class.region.items())

    fine = [content(c) for c in esc50.CLASSES]
    assert not [c.name for c in sounds.CLASSES if content(c) in fine]
    assert {c.family for c in esc50.CLASSES} == set(sound_families.FAMILIES)


@pytest.mark.parametrize("classes", [sounds.CLASSES, esc50.CLASSES])
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
        return _log_mel(wave, RATE).mean(0)

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


def _log_mel(wave, sample_rate):
    """40 bands of 50 to 7500 Hz against frames of about 25 ms every 15 ms, "f c"."""
    window, hop = 1 << round(np.log2(0.025 * sample_rate)), int(0.015 * sample_rate)
    frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    low, high = 2595 * np.log10(1 + np.array([50, 7500]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, 42) / 2595) - 1)
    hz = np.arange(power.shape[1])[:, None] * (sample_rate / window)
    up = (hz - edges[:-2]) / np.diff(edges)[:-1]
    down = (edges[2:] - hz) / np.diff(edges)[1:]
    return np.log(power @ np.clip(np.minimum(up, down), 0, None) + 1e-6)


def _course(mel):
    """What the mean over time forgets: how each frame follows those before it.

    The modulation spectrum, summed over bands, and the correlation of every band with
    its neighbours up to eight bands away, one to four frames later.
    """
    mel = (mel - mel.mean(0)) / (mel.std() + 1e-6)
    modulation = np.log(np.mean(np.abs(np.fft.rfft(mel, 128, axis=0)), 1) + 1e-3)
    moves = [
        np.mean(mel[lag:, 8:-8] * np.roll(mel, shift, 1)[:-lag, 8:-8])
        for lag in (1, 2, 4, 8)
        for shift in range(-8, 9)
    ]
    skew = [np.mean(np.diff(mel, axis=0) ** 3), np.mean(mel**3), np.mean(mel**4)]
    return np.concatenate([modulation, moves, skew])


def _score(features, targets, folds):
    """Mean accuracy over the five folds of the ESC-50 twin."""
    scores = []
    for fold in range(1, 6):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)
        )
        model.fit(features[folds != fold], targets[folds != fold])
        scores.append(model.score(features[folds == fold], targets[folds == fold]))
    return np.mean(scores)


@pytest.mark.parametrize(
    "classes, clips, above_chance", [(50, 500, 0.05), (10, 400, 0.26)]
)
def test_the_course_in_time_tells_classes_apart_and_the_mean_spectrum_does_not(
    tmp_path, classes, clips, above_chance
):
    """A linear model on the mean log-mel spectrum beats chance (2 % and 10 %) and stays
    below 70 %; on features of the course in time it gains 20 points or more. So the
    classes can be learnt, but not without learning to listen."""
    synthesize("esc50", tmp_path / "twin", clips=clips, classes=classes, seconds=1.5)
    means, courses, targets, folds = [], [], [], []
    for path in sorted((tmp_path / "twin" / "audio").iterdir()):
        wave, sample_rate = soundfile.read(path, dtype="float32")
        mel = _log_mel(wave, sample_rate)
        means.append(mel.mean(0))
        courses.append(_course(mel))
        folds.append(int(path.stem.split("-")[0]))
        targets.append(int(path.stem.split("-")[3]))
    targets, folds = np.array(targets), np.array(folds)
    by_mean = _score(np.stack(means), targets, folds)
    by_course = _score(np.stack(courses), targets, folds)
    assert above_chance < by_mean <= 0.7
    assert by_course > by_mean + 0.2
