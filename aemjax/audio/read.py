"""Reads audio files as float32 waveforms, and the arithmetic done on whole clips."""

import contextlib
import io
import math
import os
import re
import stat

import numpy as np
import soundfile as sf
import soxr
from jaxtyping import Float, Float32, Int16

SAMPLE_RATE = 16_000
MIN_STD = 1e-5
# 12 dB over full scale: codecs and hot masters stay below, integers as floats do not.
MAX_PEAK = 4.0
# libsndfile's log on a header (WAV, AU, AIFF, W64, RF64) that announces more bytes than
# the file holds; it raises no error and reads what there is.
_CUT = r"(?m)^ *(?:data|Data Size|SSND|riff|Riff size) *: (\d+) \(should be (\d+)\)"
# Programs that write to a pipe put a size near 2 or 4 GiB: they do not know it yet.
_UNKNOWN_BYTES = 2**31 - 2**16
# FLAC written to a pipe announces 2**63 - 1; four billion samples are 27 h at 44.1 kHz.
_MAX_SAMPLES = 2**32
# A header of 1 Hz would have each sample become a second: gigabytes of a small file.
_MIN_RATE = 1_000
_OGG_MAX_PAGE_BYTES = 65_307
# The length of an MP3 file without a Xing tag is an estimate: two frames at most.
_MP3_SLACK_SAMPLES = 2 * 1152


class AudioError(ValueError):
    """A file that cannot be used; the message names it, and what to do about it."""


class AudioTooLong(AudioError):
    """A file of more than its reader allowed, none of which was decoded."""


def read_audio(
    path: str | os.PathLike | bytes | io.IOBase,
    *,
    sample_rate: int = SAMPLE_RATE,
    start_s: float | int | None = None,
    end_s: float | int | None = None,
    max_s: float | int = math.inf,
    max_values: float | int = math.inf,
) -> Float32[np.ndarray, "t"]:
    """Reads one file, or the part [start_s, end_s) of it, as mono audio.

    `path` is a file name, the bytes of a file or a seekable binary file, in any format
    that libsndfile reads: WAV, FLAC, Ogg and MP3 among others. Returns float32 [t] in
    [-1, 1] at `sample_rate` Hz: the mean of the channels, low-pass filtered and
    resampled if the file's rate differs, and clipped (float files, lossy codecs and the
    resampling filter go past full scale). A part is cut out before the resampling.

    `max_s` seconds, and `max_values` samples of all channels together, are what may be
    decoded; more is refused by the header alone, so that a small file that would expand
    to hours costs nothing.

    Raises:
      AudioTooLong: the file, or the part of it, is longer than `max_s`, or decoding it
        would give more than `max_values`.
      AudioError: the file is missing, empty, cut short, not audio, without samples or
        shorter than 10 ms; its rate is less than 1 kHz; a sample is NaN, infinite or
        past `MAX_PEAK`; or the part is not inside the file.
    """
    if isinstance(path, bytes):
        path = io.BytesIO(path)
    is_name = isinstance(path, str | os.PathLike)
    name = path if is_name else getattr(path, "name", "<bytes>")
    try:
        with _open(path) if is_name else contextlib.nullcontext(path) as file:
            samples, rate, first = _decode(
                file, name, start_s, end_s, max_s, max_values
            )
    # soundfile raises TypeError for *.raw: it takes every such file for headerless.
    # A header may announce more than any memory holds.
    except (OSError, sf.LibsndfileError, TypeError, MemoryError) as error:
        reason = getattr(error, "error_string", error)
        raise AudioError(
            f"{name}: cannot be read ({reason}), expected audio that libsndfile reads; "
            "check the path, fetch the file again or convert it to WAV"
        ) from error
    finite = np.isfinite(samples).all(axis=1)
    if not finite.all():
        bad = int(finite.argmin())
        raise AudioError(
            f"{name}: sample {first + bad} ({(first + bad) / rate:.3f} s) is "
            f"{samples[bad].tolist()}, expected finite numbers; leave the file out"
        )
    if (peak := np.abs(samples).max(initial=0)) > MAX_PEAK:
        raise AudioError(
            f"{name}: samples reach {peak:g}, expected [-1, 1]; if they are integers "
            "stored as floats, divide them by full scale (32768 for 16 bit)"
        )
    audio = samples.mean(axis=1)
    if rate != sample_rate:
        audio = resample(audio, rate, sample_rate)
    if len(audio) * 100 < sample_rate:
        raise AudioError(
            f"{name}: {len(samples)} samples at {rate} Hz ({len(samples) / rate:.4f} s) "
            f"are shorter than one 10 ms frame ({-(-sample_rate // 100)} samples at "
            f"{sample_rate} Hz); pad the clip or leave it out"
        )
    return audio.clip(-1, 1)


def resample(
    audio: Float[np.ndarray, "t"], rate: int | float, sample_rate: int | float
) -> Float[np.ndarray, "t2"]:
    """Returns audio of `rate` Hz at `sample_rate` Hz, low-pass filtered."""
    return soxr.resample(audio, rate, sample_rate, quality="HQ")


def source_rate(path: str | os.PathLike | bytes | io.IOBase) -> int:
    """The sample rate of a file that `read_audio` reads, in Hz."""
    if isinstance(path, bytes):
        path = io.BytesIO(path)
    if isinstance(path, io.IOBase):
        path.seek(0)
    return sf.info(path).samplerate


def _open(path):
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # no file has such a name: a NUL is in it
        raise OSError(str(error)) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        # Opening a pipe waits for whoever writes to it, and a device may have no end.
        raise OSError("it is a pipe, a device or a socket, not a file")
    return open(path, "rb")


class _Seekable:
    """A file that stays where it is when told to go to before its beginning.

    A damaged header has libsndfile do so, and an exception would be printed, not raised.
    """

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def seek(self, offset, whence=os.SEEK_SET):
        with contextlib.suppress(OSError, ValueError):
            self._file.seek(offset, whence)
        return self._file.tell()


def _decode(file, name, start_s, end_s, max_s, max_values):
    """Returns (samples [t, c], their rate, the position of the first in the file)."""
    file.seek(0)
    if not (magic := file.read(4)):
        raise AudioError(f"{name}: 0 bytes, expected audio; fetch the file again")
    if magic == b"OggS" and not _ends_with_last_page(file):
        raise _truncated(name, "its last Ogg page is missing or not whole")
    file.seek(0)
    with sf.SoundFile(_Seekable(file)) as sound:
        rate, total = sound.samplerate, sound.frames
        cut = re.search(_CUT, sound.extra_info)
        if cut and int(cut[2]) < int(cut[1]) < _UNKNOWN_BYTES:
            raise _truncated(name, f"holds {cut[2]} of {cut[1]} announced bytes")
        if rate < _MIN_RATE:
            raise AudioError(
                f"{name}: its header says {rate} Hz, expected {_MIN_RATE} Hz or more; "
                "correct the header or leave the file out"
            )
        if not 0 < total < _MAX_SAMPLES:
            raise AudioError(
                f"{name}: its header announces {total} samples, expected 1 to "
                f"{_MAX_SAMPLES - 1}; if it was written to a pipe, convert it to WAV"
            )
        start_s = start_s or 0
        end_s = total / rate if end_s is None else end_s
        if not 0 <= start_s < end_s < (total + 0.5) / rate:
            raise AudioError(
                f"{name}: the part {start_s} s to {end_s} s is not inside the file, "
                f"expected 0 <= start_s < end_s <= {total / rate:.6f}; correct the part"
            )
        start, stop = round(start_s * rate), min(round(end_s * rate), total)
        # After a seek, an MP3 decoder lacks the bits that earlier frames hold for later.
        origin = start if sound.seekable() and sound.format != "MP3" else 0
        if (duration_s := (stop - start) / rate) > max_s:
            raise AudioTooLong(
                f"{name}: {duration_s:.2f} s long, expected {max_s:g} s at most; cut it"
            )
        if (values := (stop - origin) * sound.channels) > max_values:
            raise AudioTooLong(
                f"{name}: {values} values ({stop - origin} samples of {sound.channels} "
                f"channels at {rate} Hz), expected {max_values} at most; average its "
                "channels, resample it or cut it"
            )
        if origin:
            sound.seek(origin)
        samples = sound.read(stop - origin, dtype="float32", always_2d=True)
    slack = _MP3_SLACK_SAMPLES if sound.format == "MP3" else 0
    if len(samples) + slack < stop - origin:
        raise _truncated(name, f"holds {len(samples)} of {stop - origin} samples")
    return samples[start - origin :], rate, start


def _truncated(name, what):
    return AudioError(f"{name}: truncated, {what}; fetch it again or leave it out")


def _ends_with_last_page(file):
    """libsndfile takes the last whole page of a cut Ogg file for its end."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _OGG_MAX_PAGE_BYTES))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or not page[5] & 4:  # the flag "end of stream"
        return False
    return len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def statistics(audio: Float[np.ndarray, "t"]) -> tuple[float, float]:
    """Returns the mean and the standard deviation of a clip of 1 or more samples."""
    return float(audio.mean(dtype=np.float64)), float(audio.std(dtype=np.float64))


def standardize(audio: Float[np.ndarray, "t"]) -> Float32[np.ndarray, "t"]:
    """Returns (audio - mean) / max(std, 1e-5) as float32; silence becomes zeros."""
    mean, std = statistics(audio)
    return ((audio - mean) / max(std, MIN_STD)).astype(np.float32)


def to_int16(audio: Float[np.ndarray, "*b t"]) -> Int16[np.ndarray, "*b t"]:
    """Returns audio in [-1, 1] as 16-bit integers: rounded, and clipped to the range."""
    return np.rint(audio * 32_768.0).clip(-32_768, 32_767).astype(np.int16)


def from_int16(pcm: Int16[np.ndarray, "*b t"]) -> Float32[np.ndarray, "*b t"]:
    """Returns 16-bit integers as float32 in [-1, 1): divided by 32768."""
    return pcm.astype(np.float32) / np.float32(32_768)
