"""Levels, statistics, standardising, int16."""

import numpy as np
import pytest

from aemjax.audio import read
from aemjax.audio.read import AudioError, read_audio
from tests.aemjax.audio.files import RATE, noise, save, tone

# Level.


def test_mild_overs_are_clipped(tmp_path):
    samples = tone(1_000, level=1.5)
    audio = read_audio(save(tmp_path, samples, subtype="FLOAT"))
    np.testing.assert_array_equal(audio, samples.clip(-1, 1))
    # A full-scale square wave overshoots when it is resampled.
    square = np.where(tone(500, rate=44_100) >= 0, 0.999, -0.999)
    audio = read_audio(save(tmp_path, square, rate=44_100))
    assert audio.max() == 1 and audio.min() == -1


def test_integers_stored_as_floats_raise(tmp_path):
    path = save(tmp_path, tone(1_000, level=20_000), subtype="FLOAT")
    with pytest.raises(AudioError, match="reach 20000, expected .*divide them by full"):
        read_audio(path)


def test_silence_reads_and_standardizes_to_zeros(tmp_path):
    audio = read_audio(save(tmp_path, np.zeros(RATE), rate=44_100))
    assert not audio.any()
    assert not read.standardize(audio).any()


# Arithmetic.


def test_statistics_by_hand():
    mean, std = read.statistics(np.array([1, 2, 3, 4], np.float32))
    assert mean == 2.5
    np.testing.assert_allclose(std, np.sqrt(1.25), rtol=1e-15)


def test_statistics_accumulate_in_float64():
    audio = noise(2_000_000, level=1e-3) + np.float32(0.75)
    mean, std = read.statistics(audio)
    exact = audio.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(), rtol=1e-14)
    np.testing.assert_allclose(std, exact.std(), rtol=1e-12)


def test_standardize_by_hand():
    audio = read.standardize(np.array([1, 2, 3, 4], np.float32))
    assert audio.dtype == np.float32
    expected = np.array([-3, -1, 1, 3]) / np.sqrt(5)
    np.testing.assert_allclose(audio, expected, rtol=1e-6)


def test_standardize_floors_the_deviation():
    assert not read.standardize(np.full(160, 0.3, np.float32)).any()
    quiet = np.tile(np.array([-1e-6, 1e-6], np.float32), 80)
    np.testing.assert_allclose(read.standardize(quiet), quiet / 1e-5, rtol=1e-6)


def test_standardize_takes_float64():
    assert read.standardize(np.linspace(-1, 1, 160)).dtype == np.float32


def test_int16_by_hand():
    audio = np.array([-1.5, -1, -0.5, 0, 0.4 / 32_768, 0.6 / 32_768, 0.5, 1, 2])
    pcm = read.to_int16(audio.astype(np.float32))
    assert pcm.dtype == np.int16
    expected = [-32_768, -32_768, -16_384, 0, 0, 1, 16_384, 32_767, 32_767]
    np.testing.assert_array_equal(pcm, expected)


def test_int16_roundtrip_is_exact():
    pcm = np.arange(-32_768, 32_768, dtype=np.int16).reshape(2, -1)
    audio = read.from_int16(pcm)
    assert audio.dtype == np.float32
    assert audio[0, 0] == -1 and audio[-1, -1] == np.float32(32_767 / 32_768)
    np.testing.assert_array_equal(read.to_int16(audio), pcm)
