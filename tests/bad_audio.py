"""Files that claim to be audio, and odd ones that are: what users and attackers send.

`BAD` and `ODD` are bytes, which a request may hold as well; `PLACES` and `NAMES` only a
file system has. Reasons are patterns of `re.search`.
"""

import os
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.aemjax.audio.files import RATE, encode, noise

UNREADABLE = "cannot be read"
TRUNCATED = "truncated, "
ID3 = b"ID3\x04\0\0"


def wav(
    samples: np.ndarray | None = None,
    *,
    rate: int = RATE,
    channels: int = 1,
    bits: int = 16,
    encoding: int = 1,
    size: int | None = None,
) -> bytes:
    """A WAV file whose header says what it is told to, of 0.1 s unless given samples."""
    data = pcm(noise(RATE // 10) if samples is None else samples)
    size = len(data) if size is None else size
    frame = channels * bits // 8
    about = struct.pack(
        "<HHIIHH",
        *(encoding, channels, rate, rate * frame & 0xFFFF_FFFF, frame & 0xFFFF, bits),
    )
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + about + b"data"
    riff = struct.pack("<I", min(36 + size, 0xFFFF_FFFF))
    return b"RIFF" + riff + chunks + struct.pack("<I", size) + data


def pcm(samples: np.ndarray) -> bytes:
    return (samples * 32_767).astype("<i2").tobytes()


def with_sample(value: float, subtype: str = "FLOAT") -> bytes:
    samples = noise().astype(np.float64)
    samples[100] = value
    return encode(samples, format="WAV", subtype=subtype)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def overwritten(data: bytes) -> bytes:
    """With zeros in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes(200) + data[middle + 200 :]


def flac_of(total: int, channels: int = 1) -> bytes:
    """A FLAC file whose header announces so many samples."""
    data = bytearray(encode(noise(8_000).reshape(-1, channels), format="FLAC"))
    data[21] = data[21] & 0xF0 | total >> 32
    data[22:26] = (total & 0xFFFF_FFFF).to_bytes(4, "big")
    return bytes(data)


def tagged(size: int) -> bytes:
    """An ID3 tag of so many bytes, of zeros."""
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return ID3 + sizes + bytes(size)


def random_bytes(seed: int, magic: bytes = b"") -> bytes:
    return magic + np.random.default_rng(seed).bytes(4_000)


def png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def w64(size: int, of: bytes) -> bytes:
    """A W64 file, of which `of`, "riff" or "data", announces so many bytes."""
    return _resized(bytearray(sound("W64")), of, 16, size)


def rf64(size: int, of: bytes) -> bytes:
    """An RF64 file, of which "riff" or "data" announces so many bytes."""
    after = {b"riff": 8, b"data": 16}[of]
    return _resized(bytearray(sound("RF64")), b"ds64", after, size)


def _resized(data: bytearray, marker: bytes, after: int, size: int) -> bytes:
    place = data.find(marker) + after
    data[place : place + 8] = struct.pack("<q", size)
    return bytes(data)


def aiff_with_odd_chunks() -> bytes:
    """Chunks of an odd length, padded, as the format has it."""
    data = encode(noise(), format="AIFF")
    notes = b"NAME" + struct.pack(">I", 3) + b"odd\0"
    size = struct.pack(">I", len(data) + len(notes) - 8)
    return data[:4] + size + data[8:12] + notes + data[12:]


def sound(format: str, **options) -> bytes:
    return encode(noise(), format=format, **options)


def flipped(data: bytes, seed: int) -> bytes:
    """With up to eight bits flipped, half of the time near the beginning."""
    rng = np.random.default_rng(seed)
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        place = rng.integers(128 if seed % 2 else len(data))
        damaged[place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


# File name -> its bytes, and the reason why it cannot be used.
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.wav": (lambda: b"", "0 bytes, expected audio"),
    "one_byte.wav": (lambda: b"R", UNREADABLE),
    "nul_bytes.wav": (lambda: bytes(5_000), UNREADABLE),
    "text.wav": (lambda: b"I am no audio.\n" * 50, UNREADABLE),
    "error_page.mp3": (lambda: b"<html><h1>404 Not Found</h1></html>", UNREADABLE),
    "card.json.flac": (lambda: b'{"error": "login required"}', UNREADABLE),
    "photo.jpeg.ogg": (
        lambda: random_bytes(0, b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
        UNREADABLE,
    ),
    "picture.png.wav": (png, UNREADABLE),
    "archive.zip.wav": (lambda: random_bytes(1, b"PK\x03\x04"), UNREADABLE),
    "archive.gz.wav": (lambda: random_bytes(2, b"\x1f\x8b\x08\0"), UNREADABLE),
    "paper.pdf.wav": (lambda: random_bytes(3, b"%PDF-1.7\n"), UNREADABLE),
    "video.mp4.wav": (lambda: random_bytes(4, b"\0\0\0\x18ftypmp42"), UNREADABLE),
    "program.wav": (lambda: random_bytes(5, b"\x7fELF\x02\x01"), UNREADABLE),
    "headerless.raw": (lambda: pcm(noise()), UNREADABLE),
    "random0.wav": (lambda: random_bytes(6), UNREADABLE),
    "random1.flac": (lambda: random_bytes(7, b"fLaC"), UNREADABLE),
    "random2.ogg": (lambda: random_bytes(8, b"OggS\0\2"), TRUNCATED),
    "random3.mp3": (lambda: random_bytes(9, b"\xff\xfb\x90\0"), UNREADABLE),
    "riff_alone.wav": (lambda: wav()[:12], UNREADABLE),
    "header_alone.wav": (lambda: wav()[:44], TRUNCATED),
    "zero_samples.wav": (lambda: wav(noise(0)), "announces 0 samples"),
    "half.wav": (lambda: cut(wav()), TRUNCATED),
    "half.flac": (lambda: cut(sound("FLAC")), UNREADABLE),
    "half.ogg": (lambda: cut(sound("OGG")), TRUNCATED),
    "half.mp3": (lambda: cut(encode(noise(3 * RATE), format="MP3")), TRUNCATED),
    "half.aiff": (lambda: cut(sound("AIFF")), TRUNCATED),
    "announces_1_gib.wav": (lambda: wav(size=1 << 30), TRUNCATED),
    "rate_0.wav": (lambda: wav(rate=0), UNREADABLE),
    "rate_1.wav": (lambda: wav(rate=1), "1 Hz, expected 1000 Hz or more"),
    "rate_4e9.wav": (lambda: wav(rate=4_000_000_000), UNREADABLE),
    "rate_2e9.wav": (lambda: wav(rate=2_000_000_000), "shorter than one 10 ms frame"),
    "channels_0.wav": (lambda: wav(channels=0), UNREADABLE),
    "channels_65535.wav": (lambda: wav(channels=65_535), UNREADABLE),
    "bits_0.wav": (lambda: wav(bits=0), UNREADABLE),
    "unknown_encoding.wav": (lambda: wav(encoding=0x1234), UNREADABLE),
    "nan.wav": (lambda: with_sample(np.nan), r"sample 100 .* is \[nan\], expected fin"),
    "infinite.wav": (lambda: with_sample(-np.inf), r"is \[-inf\], expected finite"),
    "1e30.wav": (
        lambda: with_sample(1e30),
        r"samples reach 1e\+30, expected \[-1, 1\]",
    ),
    "1e300.wav": (lambda: with_sample(1e300, "DOUBLE"), r"is \[inf\], expected finite"),
    "integers_as_floats.wav": (
        lambda: with_sample(32_767),
        "reach 32767, expected .-1",
    ),
    "5_ms.wav": (lambda: wav(noise(RATE // 200)), "shorter than one 10 ms frame"),
    "damaged_frame.flac": (lambda: overwritten(sound("FLAC")), UNREADABLE),
    "announces_27_h.flac": (lambda: flac_of(2**32 - 1), UNREADABLE),
    "announces_8_times_27_h.flac": (lambda: flac_of(2**32 - 1, 8), UNREADABLE),
    "announces_2_to_36.flac": (lambda: flac_of(2**36 - 1), "announces 68719476735 sam"),
    "tag_alone.mp3": (lambda: tagged(100), UNREADABLE),
    "huge_tag_alone.mp3": (lambda: tagged(3 << 20), UNREADABLE),
    "tag_past_the_end.mp3": (lambda: ID3 + b"\x7f\x7f\x7f\x7f", UNREADABLE),
    "announces_1_gib.w64": (lambda: w64(1 << 30, b"riff"), TRUNCATED),
    "announces_1_gib.rf64": (lambda: rf64(1 << 30, b"riff"), TRUNCATED),
    "negative.rf64": (lambda: rf64(-1, b"data"), UNREADABLE),
}

# Odd, and yet audio: file name -> its bytes.
ODD: dict[str, Callable[[], bytes]] = {
    "announces_4_gib.wav": lambda: wav(size=0xFFFF_FFFF),  # written to a pipe
    "channels_1024.wav": lambda: wav(noise(1024 * 200), channels=1024),
    "rate_1000.wav": lambda: wav(rate=1_000),
    "rate_1e6.wav": lambda: wav(noise(20_000), rate=1_000_000),
    "silence.wav": lambda: wav(np.zeros(RATE)),
    "full_scale.wav": lambda: wav(np.sign(noise())),
    "10_ms.wav": lambda: wav(noise(RATE // 100)),
    "tail_of_garbage.wav": lambda: wav() + random_bytes(10),
    "tail_of_garbage.ogg": lambda: sound("OGG") + random_bytes(11),
    "negative_data.w64": lambda: w64(-1, b"data"),
    "data_of_1_gib.w64": lambda: w64(1 << 30, b"data"),
    "data_of_1_gib.rf64": lambda: rf64(1 << 30, b"data"),
    "odd_chunks.aiff": aiff_with_odd_chunks,
    "tags.mp3": lambda: tagged(1 << 20) + sound("MP3"),
    "opus_named.mp3": lambda: sound("OGG", subtype="OPUS"),
    "no_ending": lambda: sound("FLAC"),
    # Of 18 kB, and more than a network is to be run on at once.
    "six_minutes.flac": lambda: encode(np.zeros(360 * RATE, np.float32), format="FLAC"),
}


def missing(path: Path) -> Path:
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def link_to(target: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.symlink_to(target)
        return path

    return make


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def socket(path: Path) -> Path:
    os.mknod(path, stat.S_IFSOCK | 0o600)
    return path


def locked_away(path: Path) -> Path:
    path.write_bytes(wav())
    path.chmod(0)
    return path


def inside_a_file(path: Path) -> Path:
    path.write_bytes(wav())
    return path / "clip.wav"


def far_above(path: Path) -> Path:
    return path.parent.joinpath(*[".."] * 30, "etc", "passwd")


NO_FILE = "it is a pipe, a device or a socket, not a file"
# Name -> what makes it, and gives the path to name to a program; and the reason.
PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing.wav": (missing, "No such file or directory"),
    "folder.wav": (folder, "Is a directory"),
    "dangling.wav": (link_to("nowhere.wav"), "No such file or directory"),
    "circle.wav": (link_to("circle.wav"), "Too many levels of symbolic links"),
    "pipe.wav": (pipe, NO_FILE),
    "socket.wav": (socket, NO_FILE),
    "endless.wav": (link_to("/dev/zero"), NO_FILE),
    "void.wav": (link_to("/dev/null"), NO_FILE),
    "file.wav": (inside_a_file, "Not a directory"),
    "traversal": (far_above, UNREADABLE),
    "x" * 256: (missing, "File name too long"),
}
if os.geteuid():  # root may read it
    PLACES["locked_away.wav"] = (locked_away, "Permission denied")

NOT_UTF_8 = "bytes_\udcff\udcfe.wav"
# Of files, whatever they hold.
NAMES = (
    NOT_UTF_8,
    "line\nbreak.wav",
    "carriage\rreturn.wav",
    "next\x85line\u2028.wav",
    "escape\x1b[2J.wav",
    "tab\t.wav",
    " quotes \"' and, commas;.wav",
    "-x.wav",
    "--model.wav",
    "ünïcödé 音 🐕.wav",
    "a\u0301.wav",
    "from_the_right_\u202evaw.wav",
    "$(reboot) `id` *?[a].wav",
    "%00%2e%2e%2f.wav",
    "=1+1.wav",
    "back\\slash.wav",
    "x" * 251 + ".wav",
)


def write_bad(at: Path) -> dict[str, str]:
    """{path: reason} of `BAD` and `PLACES`, which are made in a folder."""
    found = {}
    for name, (data, reason) in BAD.items():
        (at / name).write_bytes(data())
        found[str(at / name)] = reason
    for name, (make, reason) in PLACES.items():
        found[str(make(at / name))] = reason
    return found


def write_odd(at: Path) -> list[str]:
    """Paths of `ODD`, which are made in a folder."""
    for name, data in ODD.items():
        (at / name).write_bytes(data())
    return [str(at / name) for name in ODD]


def write_named(at: Path, data: bytes) -> list[str]:
    """Paths of `NAMES`, which are made in a folder."""
    for name in NAMES:
        (at / name).write_bytes(data)
    return [str(at / name) for name in NAMES]
