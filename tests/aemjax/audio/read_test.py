import io

import numpy as np
import pytest
import soundfile as sf

from aemjax.audio import read
from aemjax.audio.read import AudioError, read_audio

RATE = 16_000


def tone(hz, *, rate=RATE, seconds=1.0, level=0.5):
    t = np.arange(round(rate * seconds)) / rate
    return (level * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def noise(num_samples=RATE, *, level=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return (level * rng.uniform(-1, 1, num_samples)).astype(np.float32)


def encode(samples, *, rate=RATE, **kwargs):
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, **kwargs)
    return buffer.getvalue()


def save(folder, samples, *, rate=RATE, name="clip.wav", **kwargs):
    sf.write(folder / name, samples, rate, **kwargs)
    return folder / name


def fit(audio, hz, *, rate=RATE):
    """Amplitude at `hz`, by projection on one complex exponential."""
    t = np.arange(len(audio)) / rate
    return 2 * abs(np.mean(audio * np.exp(-2j * np.pi * hz * t)))


def rms(audio):
    return float(np.sqrt(np.mean(audio.astype(np.float64) ** 2)))


def middle(audio):
    return audio[len(audio) // 10 : -len(audio) // 10]


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


# Parts.


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


# Bad files.


def test_missing_file_raises(tmp_path):
    with pytest.raises(AudioError, match=r"none\.wav: .*No such file.*check the path"):
        read_audio(tmp_path / "none.wav")


def test_folder_raises(tmp_path):
    with pytest.raises(AudioError, match=r"Is a directory.*check the path"):
        read_audio(tmp_path)


def test_empty_file_raises(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(b"")
    with pytest.raises(AudioError, match=r"clip\.wav: 0 bytes, expected audio; fetch"):
        read_audio(path)
    with pytest.raises(AudioError, match="<bytes>: 0 bytes"):
        read_audio(b"")


@pytest.mark.parametrize("name", ["clip.wav", "clip.raw", "clip.mp3"])
def test_not_audio_raises(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"<html>404 not found</html>" * 40)
    with pytest.raises(
        AudioError, match=rf"{name}: cannot be read .*convert it to WAV"
    ):
        read_audio(path)


@pytest.mark.parametrize("format", ["WAV", "AIFF", "OGG"])
def test_zero_samples_raise(tmp_path, format):
    path = save(tmp_path, noise(0), name="clip", format=format)
    with pytest.raises(AudioError, match="clip: its header announces 0 samples"):
        read_audio(path)


def test_flac_of_unknown_length_raises():
    data = bytearray(encode(noise(), format="FLAC"))
    data[21] &= 0xF0  # STREAMINFO's 36 bits of total samples
    data[22:26] = bytes(4)
    with pytest.raises(AudioError, match="announces 9223372036854775807 .*pipe"):
        read_audio(bytes(data))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    with pytest.raises(AudioError, match="announces 68719476735 samples"):
        read_audio(bytes(data))


CONTAINERS = [
    dict(format="WAV", subtype="PCM_U8"),
    dict(format="WAV", subtype="PCM_16"),
    dict(format="WAV", subtype="PCM_24"),
    dict(format="WAV", subtype="FLOAT"),
    dict(format="WAV", subtype="IMA_ADPCM"),
    dict(format="WAV", subtype="MS_ADPCM"),
    dict(format="WAVEX", subtype="PCM_16"),
    dict(format="RF64", subtype="PCM_16"),
    dict(format="W64", subtype="PCM_16"),
    dict(format="AIFF", subtype="PCM_16"),
    dict(format="AU", subtype="PCM_16"),
    dict(format="OGG", subtype="VORBIS"),
    dict(format="OGG", subtype="OPUS"),
]


@pytest.mark.parametrize("kwargs", CONTAINERS, ids=lambda kw: "-".join(kw.values()))
def test_truncated_file_raises(tmp_path, kwargs):
    data = encode(noise(2 * RATE), **kwargs)
    path = tmp_path / "clip"
    path.write_bytes(data)
    assert read_audio(path).size >= 2 * RATE
    for num_bytes in (len(data) * 2 // 5, len(data) * 9 // 10, len(data) - 1):
        path.write_bytes(data[:num_bytes])
        with pytest.raises(AudioError, match="clip: truncated, .*fetch it again"):
            read_audio(path)
        with pytest.raises(AudioError, match="clip: truncated, "):
            read_audio(path, end_s=0.1)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_without_its_last_page_raises(subtype):
    data = encode(noise(4 * RATE), format="OGG", subtype=subtype)
    with pytest.raises(AudioError, match="truncated, its last Ogg page is missing"):
        read_audio(data[: data.rfind(b"OggS")])


def test_truncated_wav_names_both_sizes(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(encode(noise(), format="WAV")[: 44 + 20_000])
    with pytest.raises(AudioError, match="holds 20000 of 32000 announced bytes"):
        read_audio(path)


def test_truncated_flac_raises():
    data = encode(noise(2 * RATE), format="FLAC")
    cuts = [len(data) // 3, len(data) * 9 // 10, len(data) - 1]
    # Where a frame begins, no half of one is left for the decoder to stumble over.
    cuts.append(data.find(b"\xff\xf8", len(data) // 2))
    for num_bytes in cuts:
        with pytest.raises(AudioError, match="cannot be read .*fetch the file again"):
            read_audio(data[:num_bytes])


def test_truncated_mp3_raises():
    data = encode(noise(2 * RATE), format="MP3")
    for num_bytes in (len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(AudioError, match="truncated, holds .* of 32000 samples"):
            read_audio(data[:num_bytes])


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_mp3_without_length_tag_reads(rate):
    # `bitrate_mode` is ignored without a level.
    kwargs = dict(format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    data = encode(noise(2 * rate), rate=rate, **kwargs)
    data = data[data.find(data[:2], 100) :]  # the first frame holds the tag
    audio = read_audio(data, sample_rate=rate)
    assert 2 * rate <= len(audio) <= 2 * rate + 4 * 1152
    # The length is an estimate from the size, so a cut file is a shorter file.
    assert len(read_audio(data[: len(data) // 2], sample_rate=rate)) < 1.1 * rate


def test_damaged_flac_raises():
    data = bytearray(encode(noise(2 * RATE), format="FLAC"))
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    with pytest.raises(AudioError, match="lost sync"):
        read_audio(bytes(data))


def test_odd_data_without_padding_reads():
    data = encode(noise(RATE + 1), format="WAV", subtype="PCM_U8")
    assert len(read_audio(data)) == len(read_audio(data[: 44 + RATE + 1])) == RATE + 1


def test_wav_with_trailing_bytes_or_unknown_length_reads():
    samples = noise()
    data = encode(samples, format="WAV")
    expected = read_audio(data)
    for tail in (b"LIST\x04\0\0\0abcd", b"x" * 1001):
        np.testing.assert_array_equal(read_audio(data + tail), expected)
    for size in (0x7FFFF000, 0xFFFFFFFF):  # as SoX and FFmpeg write to a pipe
        streamed = data[:40] + size.to_bytes(4, "little") + data[44:]
        np.testing.assert_array_equal(read_audio(streamed), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples_raise(tmp_path, value):
    samples = np.zeros((RATE, 2), np.float32)
    samples[4_000:, 1] = value
    path = save(tmp_path, samples, subtype="FLOAT")
    message = rf"clip\.wav: sample 4000 \(0\.250 s\) is \[0\.0, {value}\], expected fin"
    with pytest.raises(AudioError, match=message):
        read_audio(path)
    assert not read_audio(path, end_s=0.25).any()
    with pytest.raises(AudioError, match=r"sample 4800 \(0\.300 s\)"):
        read_audio(path, start_s=0.3)


def test_too_short_raises(tmp_path):
    with pytest.raises(AudioError, match=r"159 samples at 16000 Hz \(0\.0099 s\)"):
        read_audio(save(tmp_path, noise(159)))
    assert len(read_audio(save(tmp_path, noise(160)))) == 160
    message = r"479 samples at 48000 Hz .* \(480 samples at 48000 Hz\); pad"
    with pytest.raises(AudioError, match=message):
        read_audio(save(tmp_path, noise(479), rate=48_000), sample_rate=48_000)
    with pytest.raises(AudioError, match="430 samples at 44100 Hz"):
        read_audio(save(tmp_path, noise(430), rate=44_100))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000])
def test_10_ms_is_long_enough_at_every_rate(tmp_path, rate):
    path = save(tmp_path, noise(-(-rate // 100)), rate=rate)
    assert 160 <= len(read_audio(path)) <= 162


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
