import math

import numpy as np
import pytest

from aemjax.audio.read import standardize, statistics
from aemjax.serve.running import Given, Running
from tests.aemjax.audio.files import noise


def pushed(statistics, audio, chunk):
    parts = [statistics.push(audio[i : i + chunk]) for i in range(0, len(audio), chunk)]
    return np.concatenate([*parts, statistics.close()])


@pytest.fixture
def audio():
    loud = np.repeat([0.1, 0.5, 0.2], 700)
    return (noise(2_100, level=1) * loud + 0.05).astype(np.float32)


def test_given_ones_are_those_of_a_clip(audio):
    own = statistics(audio)
    for chunk in (7, 160, 5_000):
        found = pushed(Given(*own), audio, chunk)
        np.testing.assert_array_equal(found, standardize(audio))
    silence = np.full(200, 0.25, np.float32)
    assert not pushed(Given(0.25, 1e-30), silence, 50).any()


def test_with_endless_memory_it_is_all_that_was_heard(audio):
    found = pushed(Running(math.inf, sample_rate=16_000), audio, 7)
    for end in (160, 800, 1_920):
        expected = standardize(audio[:end])[-160:]
        np.testing.assert_allclose(found[end - 160 : end], expected, atol=1e-5)
    np.testing.assert_allclose(found[2_080:], standardize(audio)[2_080:], atol=1e-5)


def test_what_was_heard_long_ago_counts_less(audio):
    found = pushed(Running(0.05, sample_rate=16_000), audio, 333)
    for frames in (1, 2, 9):
        # e^-1 after 0.05 s, which is five frames of 10 ms.
        weights = np.repeat(np.exp((np.arange(frames) - frames + 1) / 5), 160)
        heard = audio[: frames * 160].astype(np.float64)
        mean = np.average(heard, weights=weights)
        std = math.sqrt(np.average((heard - mean) ** 2, weights=weights))
        expected = (heard[-160:] - mean) / std
        own = found[frames * 160 - 160 : frames * 160]
        np.testing.assert_allclose(own, expected, atol=1e-5)


@pytest.mark.parametrize("memory_s", [0.02, 10, math.inf])
def test_chunks_do_not_matter(audio, memory_s):
    first, *others = (
        pushed(Running(memory_s, sample_rate=16_000), audio, chunk)
        for chunk in (1, 160, 161, 2_100)
    )
    assert len(first) == len(audio)
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_silence_is_zeros():
    silence = np.full(1_000, 0.25, np.float32)
    assert not pushed(Running(1, sample_rate=16_000), silence, 300).any()


def test_numbers_out_of_range_are_refused():
    for memory_s in (0, -1, math.nan):
        with pytest.raises(ValueError, match=f"a memory of {memory_s} s, expected mo"):
            Running(memory_s, sample_rate=16_000)
    for mean, std in ((math.nan, 1), (0, 0), (0, -1), (0, math.inf), (0, math.nan)):
        with pytest.raises(ValueError, match=f"mean {mean} and deviation {std}: exp"):
            Given(mean, std)
