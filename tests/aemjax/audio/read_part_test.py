"""Parts of files."""

import io

import numpy as np
import pytest

from aemjax.audio.read import AudioError, read_audio
from tests.aemjax.audio.files import RATE, noise, save, tone


@pytest.mark.parametrize("kwargs", [dict(format="WAV"), dict(format="FLAC")])
def test_part_is_the_slice_of_the_whole(tmp_path, kwargs):
    path = save(tmp_path, noise(3 * RATE), name="clip", **kwargs)
    whole = read_audio(path)
    for start_s, end_s in [(0.5, 1.25), (None, 1.0), (2.0, None), (0, 3), (1, 1.01)]:
        start = round((start_s or 0) * RATE)
        stop = round((3 if end_s is None else end_s) * RATE)
        part = read_audio(path, start_s=start_s, end_s=end_s)
        np.testing.assert_array_equal(part, whole[start:stop])


@pytest.mark.parametrize(
    "kwargs",
    [
        dict(format="OGG", subtype="VORBIS"),
        dict(format="OGG", subtype="OPUS"),
        dict(format="MP3"),
        dict(format="WAV", subtype="IMA_ADPCM"),
        dict(format="WAV", subtype="MS_ADPCM"),
        dict(format="WAV", subtype="GSM610"),  # libsndfile cannot seek in it
    ],
    ids=lambda kwargs: "-".join(kwargs.values()),
)
def test_part_of_a_lossy_file(tmp_path, kwargs):
    path = save(tmp_path, tone(440, seconds=3), name="clip", **kwargs)
    part = read_audio(path, start_s=0.5, end_s=1.25)
    whole = read_audio(path)[8_000:20_000]
    np.testing.assert_allclose(part, whole, rtol=0, atol=1e-6)


def test_part_of_a_resampled_file(tmp_path):
    samples = tone(440, rate=44_100, seconds=3) + tone(3_000, rate=44_100, seconds=3)
    path = save(tmp_path, samples / 2, rate=44_100)
    part = read_audio(path, start_s=0.5, end_s=1.25)
    whole = read_audio(path)[8_000:20_000]
    assert part.shape == whole.shape
    edge = 160  # the filter sees zeros outside the part
    np.testing.assert_allclose(part[edge:-edge], whole[edge:-edge], atol=2e-3)


def test_part_reads_only_its_samples(tmp_path):
    path = save(tmp_path, noise(60 * RATE))

    class Counter(io.FileIO):
        bytes_read = 0

        def readinto(self, buffer):
            count = super().readinto(buffer)
            self.bytes_read += count
            return count

        def read(self, size=-1):
            data = super().read(size)
            self.bytes_read += len(data)
            return data

    with Counter(path) as file:
        assert read_audio(file, start_s=30, end_s=31).shape == (RATE,)
        assert file.bytes_read < 4 * RATE  # of 120 * RATE


@pytest.mark.parametrize(
    "part",
    [
        dict(start_s=-0.1),
        dict(start_s=2.0),
        dict(end_s=2.1),
        dict(end_s=0.0),
        dict(start_s=1.0, end_s=1.0),
        dict(start_s=1.5, end_s=1.0),
        dict(start_s=float("nan")),
        dict(end_s=float("inf")),
    ],
    ids=str,
)
def test_part_outside_the_file_raises(tmp_path, part):
    path = save(tmp_path, noise(2 * RATE))
    with pytest.raises(AudioError, match=r"clip\.wav: the part .* <= 2\.000000; cor"):
        read_audio(path, **part)


def test_part_may_end_at_the_printed_duration(tmp_path):
    path = save(tmp_path, noise(7_001), rate=11_025)
    audio = read_audio(path, end_s=float(f"{7_001 / 11_025:.6f}"))
    assert len(audio) == len(read_audio(path)) == round(7_001 * RATE / 11_025)


def test_short_part_raises(tmp_path):
    path = save(tmp_path, noise())
    with pytest.raises(AudioError, match="159 samples at 16000 Hz .*10 ms"):
        read_audio(path, start_s=0.5, end_s=0.5 + 159 / RATE)
    with pytest.raises(AudioError, match="0 samples at 16000 Hz .*10 ms"):
        read_audio(path, start_s=0.5, end_s=0.50001)
