"""Files that cannot be used are refused, each with its reason."""

import numpy as np
import pytest
import soundfile as sf

from aemjax.audio.read import AudioError, AudioTooLong, read_audio
from tests.aemjax.audio.files import RATE, encode, noise, save


def test_missing_file_raises(tmp_path):
    with pytest.raises(AudioError, match=r"none\.wav: .*No such file.*check the path"):
        read_audio(tmp_path / "none.wav")


def test_a_name_that_no_file_has_raises():
    message = "cannot be read .embedded null byte.*check the path"
    with pytest.raises(AudioError, match=message):
        read_audio("clip\0.wav")


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


def test_a_longer_file_than_allowed_is_refused_undecoded(tmp_path, monkeypatch):
    # A minute of silence is a few kilobytes.
    data = encode(np.zeros((60 * RATE, 2)), format="FLAC")
    assert len(data) < 20_000
    assert len(read_audio(data, max_s=60, max_values=120 * RATE)) == 60 * RATE
    decoded = []
    monkeypatch.setattr(sf.SoundFile, "read", lambda *a, **k: decoded.append(a))
    with pytest.raises(
        AudioTooLong, match="60.00 s long, expected 59.9 s at most; cut"
    ):
        read_audio(data, max_s=59.9)
    message = (
        "1920000 values .960000 samples of 2 channels at 16000 Hz., expected 1919999"
    )
    with pytest.raises(AudioTooLong, match=message):
        read_audio(data, max_values=2 * 60 * RATE - 1)
    assert not decoded


def test_of_a_part_its_own_length_counts(tmp_path):
    path = save(tmp_path, noise(2 * RATE))
    assert len(read_audio(path, start_s=1, end_s=1.5, max_s=0.5)) == RATE // 2
    with pytest.raises(AudioTooLong, match="clip.wav: 0.60 s long, expected 0.5 s"):
        read_audio(path, start_s=1, end_s=1.6, max_s=0.5)
    mp3 = encode(noise(2 * RATE), format="MP3")  # is decoded from its beginning
    with pytest.raises(AudioTooLong, match="32000 values"):
        read_audio(mp3, start_s=1.9, max_values=RATE)


def test_a_flac_that_holds_more_than_it_announces_is_cut_there():
    data = bytearray(encode(noise(4 * RATE), format="FLAC"))
    data[22:26] = RATE.to_bytes(4, "big")  # STREAMINFO's total samples
    assert len(read_audio(bytes(data), max_s=1)) == RATE
