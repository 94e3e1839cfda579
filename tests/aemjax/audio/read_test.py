"""Whole files of every format and rate."""

import io

import numpy as np
import pytest

from aemjax.audio import read
from aemjax.audio.read import read_audio
from tests.aemjax.audio.files import RATE, encode, fit, middle, noise, rms, save, tone


def test_sample_rate_is_16_khz():
    assert read.SAMPLE_RATE == 16_000


# Resampling.


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_1_khz_tone_keeps_level_frequency_and_length(tmp_path, rate):
    audio = read_audio(save(tmp_path, tone(1_000, rate=rate), rate=rate))
    assert audio.dtype == np.float32 and audio.shape == (RATE,)
    np.testing.assert_allclose(fit(middle(audio), 1_000), 0.5, rtol=2e-3)
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    assert np.argmax(spectrum) == 1_000  # bins of 1 Hz
    expected = tone(1_000)
    assert rms(middle(audio - expected)) < 1e-3 * rms(expected)  # phase too


def test_10_khz_tone_does_not_alias(tmp_path):
    path = save(tmp_path, tone(10_000, rate=44_100), rate=44_100)
    audio = read_audio(path)
    assert rms(middle(audio)) < 1e-3 * rms(tone(10_000, rate=44_100))
    # Taking samples without a filter would put it at 16 kHz - 10 kHz.
    assert fit(middle(audio), 6_000) < 0.5e-3


def test_same_rate_is_not_resampled(tmp_path):
    samples = noise()
    path = save(tmp_path, samples, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(path), samples)


def test_other_target_rate(tmp_path):
    path = save(tmp_path, tone(1_000))
    audio = read_audio(path, sample_rate=32_000)
    assert audio.shape == (32_000,)
    np.testing.assert_allclose(fit(middle(audio), 1_000, rate=32_000), 0.5, rtol=2e-3)


# Formats.


@pytest.mark.parametrize(
    ("kwargs", "step"),
    [
        (dict(format="WAV", subtype="PCM_U8"), 2**-7),
        (dict(format="WAV", subtype="PCM_16"), 2**-15),
        (dict(format="WAV", subtype="PCM_24"), 2**-23),
        (dict(format="WAV", subtype="PCM_32"), 2**-24),
        (dict(format="WAV", subtype="FLOAT"), 0),
        (dict(format="WAV", subtype="DOUBLE"), 0),
        (dict(format="WAVEX", subtype="PCM_16"), 2**-15),
        (dict(format="RF64", subtype="PCM_16"), 2**-15),
        (dict(format="W64", subtype="PCM_16"), 2**-15),
        (dict(format="AIFF", subtype="PCM_16"), 2**-15),
        (dict(format="AU", subtype="PCM_16"), 2**-15),
        (dict(format="CAF", subtype="PCM_16"), 2**-15),
        (dict(format="FLAC", subtype="PCM_16"), 2**-15),
        (dict(format="FLAC", subtype="PCM_24"), 2**-23),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else None,
)
def test_lossless_formats_keep_every_sample(tmp_path, kwargs, step):
    samples = noise(level=0.9)
    path = save(tmp_path, samples, name="clip", **kwargs)
    audio = read_audio(path)
    assert audio.shape == samples.shape
    np.testing.assert_allclose(audio, samples, rtol=0, atol=step)


@pytest.mark.parametrize(
    ("kwargs", "error", "extra"),
    [
        (dict(format="WAV", subtype="ULAW"), 0.02, 0),
        (dict(format="WAV", subtype="ALAW"), 0.02, 0),
        (dict(format="WAV", subtype="IMA_ADPCM"), 0.05, 1024),  # whole blocks
        (dict(format="WAV", subtype="MS_ADPCM"), 0.05, 1024),
        (dict(format="OGG", subtype="VORBIS"), 0.1, 0),
        (dict(format="OGG", subtype="OPUS"), 0.1, 0),
        (dict(format="MP3"), 0.1, 0),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else None,
)
def test_lossy_formats_keep_the_waveform(tmp_path, kwargs, error, extra):
    samples = tone(440) + 0.1 * tone(1_000)
    audio = read_audio(save(tmp_path, samples, name="clip", **kwargs))
    assert len(samples) <= len(audio) <= len(samples) + extra
    difference = middle(audio[: len(samples)] - samples)
    assert rms(difference) < error * rms(samples)


def test_stereo_is_averaged(tmp_path):
    left, right = noise(seed=1), noise(seed=2)
    path = save(tmp_path, np.stack([left, right], 1), subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), (left + right) / 2, atol=1e-7)
    path = save(tmp_path, np.stack([left, -left, right], 1), subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), right / 3, atol=1e-7)


def test_16_bit_values_by_hand(tmp_path):
    pcm = np.tile(np.array([-32_768, -1, 0, 1, 16_384, 32_767], np.int16), 40)
    audio = read_audio(save(tmp_path, pcm, subtype="PCM_16"))
    expected = [-1, -(2**-15), 0, 2**-15, 0.5, 1 - 2**-15]
    np.testing.assert_array_equal(audio[:6], np.array(expected, np.float32))


def test_takes_names_bytes_and_files(tmp_path):
    samples = noise()
    data = encode(samples, format="FLAC")
    path = tmp_path / "clip.flac"
    path.write_bytes(data)
    expected = read_audio(path)
    np.testing.assert_array_equal(read_audio(str(path)), expected)
    np.testing.assert_array_equal(read_audio(data), expected)
    np.testing.assert_array_equal(read_audio(io.BytesIO(data)), expected)
    with open(path, "rb") as file:
        file.seek(100)  # read from its beginning all the same
        np.testing.assert_array_equal(read_audio(file), expected)
        assert not file.closed
