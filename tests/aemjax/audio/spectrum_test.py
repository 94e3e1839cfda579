import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.signal

from aemjax.audio import spectrum

# Bands, points, range in Hz, band, then the sum and the centre of gravity (in bins) of
# librosa 0.11.0's `filters.mel(sr=16000, htk=True, norm=None, dtype=np.float64)`.
LIBROSA_FILTERS = [
    (40, 512, 0.0, 8000.0, 0, 1.320111, 1.46653),
    (40, 512, 0.0, 8000.0, 1, 1.674105, 2.969816),
    (40, 512, 0.0, 8000.0, 7, 2.237537, 14.313128),
    (40, 512, 0.0, 8000.0, 20, 5.032242, 59.13788),
    (40, 512, 0.0, 8000.0, 39, 16.091695, 239.728682),
    (128, 1024, 0.0, 8000.0, 0, 0.871023, 1.0),
    (128, 1024, 0.0, 8000.0, 1, 0.894984, 1.855889),
    (128, 1024, 0.0, 8000.0, 20, 1.278425, 22.680802),
    (128, 1024, 0.0, 8000.0, 64, 3.107661, 114.693284),
    (128, 1024, 0.0, 8000.0, 127, 10.661282, 501.287205),
    (64, 512, 50.0, 7000.0, 0, 0.878872, 2.480145),
    (64, 512, 50.0, 7000.0, 7, 1.12472, 9.55857),
    (64, 512, 50.0, 7000.0, 63, 8.495796, 215.427344),
]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("coefficient", [0.97, 0.0])
def test_pre_emphasis_is_scipys_filter(coefficient):
    audio = noise(3, 500)
    expected = scipy.signal.lfilter([1, -coefficient], [1], np.float64(audio))
    got = spectrum.pre_emphasis(jnp.asarray(audio), coefficient)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("window", [10, 11, 12, 25, 30])
@pytest.mark.parametrize("samples", [10, 19, 20, 57])
def test_a_frame_is_centred_on_its_hop(window, samples):
    audio = np.arange(1.0, samples + 1, dtype=np.float32)[None]
    got = spectrum.frames(jnp.asarray(audio), window_samples=window, hop_samples=10)
    assert got.shape == (1, samples // 10, window)
    for i, frame in enumerate(got[0]):
        first = 10 * i + 5 - window / 2
        at = int(np.ceil(first)) + np.arange(window)
        inside = (at >= 0) & (at < samples)
        np.testing.assert_array_equal(frame, np.where(inside, at + 1.0, 0))


def test_a_window_shorter_than_the_hop_raises():
    with pytest.raises(ValueError, match="window_samples 9 is less than the hop of 10"):
        spectrum.frames(jnp.zeros((1, 50)), window_samples=9, hop_samples=10)


@pytest.mark.parametrize(("window", "n_fft"), [(400, 512), (400, 1024), (320, 512)])
def test_frames_and_power_are_scipys_short_time_fft(window, n_fft):
    audio = noise(2, 1_700)
    frames = spectrum.frames(jnp.asarray(audio), window_samples=window, hop_samples=160)
    got = spectrum.power_spectrum(frames, n_fft=n_fft)
    stft = scipy.signal.ShortTimeFFT(
        np.hamming(window), hop=160, fs=16_000, mfft=n_fft, scale_to=None
    )
    # SciPy centres slice p at 160 p, we at 160 i + 80: with 80 samples before, p = i + 1.
    padded = np.pad(np.float64(audio), ((0, 0), (80, 480)))
    expected = np.abs(stft.stft(padded, p0=1, p1=11)) ** 2 / n_fft  # b k f
    np.testing.assert_allclose(got, expected.swapaxes(1, 2), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("window", "n_fft"), [(401, 512), (512, 512), (7, 8)])
def test_power_is_that_of_numpys_fft(window, n_fft):
    frames = noise(1, 3, window)
    expected = np.fft.rfft(np.float64(frames) * np.hamming(window), n_fft)
    got = spectrum.power_spectrum(jnp.asarray(frames), n_fft=n_fft)
    expected = np.abs(expected) ** 2 / n_fft
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


def test_power_of_a_quiet_tone_beside_a_loud_one():
    t = np.arange(400) / 16_000
    frame = np.sin(2 * np.pi * 1000 * t) + 1e-3 * np.sin(2 * np.pi * 6000 * t)
    got = spectrum.power_spectrum(jnp.float32(frame[None, None]), n_fft=512)[0, 0]
    expected = np.abs(np.fft.rfft(frame * np.hamming(400), 512)) ** 2 / 512
    assert expected[192] < 1e-5 * expected[32]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-9)


def test_products_ask_for_full_precision():
    x, matrix = jnp.ones((2, 3, 4)), np.ones((4, 5))
    text = jax.jit(lambda x: spectrum.times(x, matrix)).lower(x).as_text()
    assert "precision = [HIGHEST, HIGHEST]" in text  # or a TPU rounds to bfloat16


def test_a_frame_longer_than_the_fft_raises():
    with pytest.raises(
        ValueError, match="400 samples does not fit n_fft 256; choose a"
    ):
        spectrum.power_spectrum(jnp.zeros((1, 1, 400)), n_fft=256)


def test_mel_scale():
    np.testing.assert_allclose(spectrum.mel([0, 700, 6300]), [0, 781.173, 2595], 1e-6)
    hz = np.array([0, 31.25, 440, 8000])
    np.testing.assert_allclose(spectrum.hertz(spectrum.mel(hz)), hz, 1e-9, 1e-9)


@pytest.mark.parametrize(
    ("bands", "n_fft", "min_hz", "max_hz", "band", "total", "centre"), LIBROSA_FILTERS
)
def test_mel_filters_are_librosas(bands, n_fft, min_hz, max_hz, band, total, centre):
    filters = spectrum.mel_filters(
        bands=bands, n_fft=n_fft, min_hz=min_hz, max_hz=max_hz
    )
    assert filters.shape == (n_fft // 2 + 1, bands)
    column = filters[:, band]
    np.testing.assert_allclose(column.sum(), total, atol=2e-6)
    moment = np.arange(len(column)) @ column / column.sum()
    np.testing.assert_allclose(moment, centre, atol=2e-6)


def test_neighbouring_mel_filters_add_up_to_one():
    filters = spectrum.mel_filters(bands=40, n_fft=512, min_hz=0.0, max_hz=8000.0)
    hz = np.arange(257) * 31.25
    inner = (hz > spectrum.hertz(2840.02 / 41)) & (
        hz < spectrum.hertz(2840.0 * 40 / 41)
    )
    np.testing.assert_allclose(filters.sum(axis=1)[inner], 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (dict(min_hz=-1.0), "mel bands from -1.0 to 8000.0 Hz, expected 0 <= min_hz"),
        (dict(max_hz=8001.0), "mel bands from 0.0 to 8001.0 Hz, .* max_hz <= 8000"),
        (dict(min_hz=500.0, max_hz=500.0), "mel bands from 500.0 to 500.0 Hz, expect"),
        (dict(bands=128), "1 of 128 mel bands .* hold no bin of a 512-point FFT; choo"),
        (dict(bands=128, n_fft=256), "14 of 128 mel bands .* hold no bin of a 256-po"),
    ],
)
def test_bad_mel_bands_raise(sizes, message):
    sizes = dict(bands=40, n_fft=512, min_hz=0.0, max_hz=8000.0) | sizes
    with pytest.raises(ValueError, match=message):
        spectrum.mel_filters(**sizes)


def test_log_has_a_floor_and_a_gradient_there():
    power = jnp.array([[[0.0, 1e-9, 1e-7, 1.0, np.e]]])
    got = spectrum.log_power(power, floor=1e-7)
    floor = np.log(1e-7)
    np.testing.assert_allclose(got[0, 0], [floor, floor, floor, 0, 1], atol=1e-6)
    grad = jax.grad(lambda x: spectrum.log_power(x, floor=1e-7).sum())(power)
    np.testing.assert_allclose(grad[0, 0, :2], 0)
    np.testing.assert_allclose(grad[0, 0, 3:], [1, 1 / np.e], rtol=1e-6)


@pytest.mark.parametrize(("bands", "coefficients"), [(40, 40), (40, 13), (128, 1)])
def test_dct_is_scipys(bands, coefficients):
    x = noise(2, 5, bands)
    got = spectrum.times(jnp.asarray(x), spectrum.dct(bands, coefficients))
    expected = scipy.fft.dct(np.float64(x), type=2, norm="ortho")[..., :coefficients]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("coefficients", [0, 41])
def test_more_coefficients_than_bands_raise(coefficients):
    message = f"{coefficients} coefficients of 40 bands, expected 1 to 40"
    with pytest.raises(ValueError, match=message):
        spectrum.dct(40, coefficients)


def test_lifter():
    cepstra = jnp.ones((1, 2, 23)) * jnp.array([[[1.0], [-2.0]]])
    got = spectrum.lifter(cepstra, 22)
    # python_speech_features 0.6's `lifter(ones, 22)`.
    some = {0: 1.0, 1: 2.565463, 2: 4.099058, 3: 5.569565, 11: 12.0, 22: 1.0}
    np.testing.assert_allclose(got[0, 0, list(some)], list(some.values()), atol=2e-6)
    np.testing.assert_allclose(got[0, 1], -2 * got[0, 0])
    np.testing.assert_array_equal(spectrum.lifter(cepstra, 0), cepstra)


def test_mean_normalize_leaves_out_what_the_mask_does():
    x = noise(2, 6, 3) + 5
    got = spectrum.mean_normalize(jnp.asarray(x))
    np.testing.assert_allclose(got, x - x.mean(1, keepdims=True), atol=1e-5)
    mask = jnp.array([[True] * 6, [True] * 2 + [False] * 4])[..., None]
    got = spectrum.mean_normalize(jnp.asarray(x), mask)
    np.testing.assert_allclose(got[0], x[0] - x[0].mean(0), atol=1e-5)
    np.testing.assert_allclose(got[1], x[1] - x[1, :2].mean(0), atol=1e-5)
