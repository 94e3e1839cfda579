"""Audio files, read in threads while the ones before them are in use."""

import collections
import concurrent.futures
import dataclasses
import os
from collections.abc import Iterable, Iterator

from aemjax.audio.read import AudioError, read_audio
from aemjax.serve.waveforms import Waveform

# Of files that wait: as samples they take up to some ten times as much.
AHEAD_BYTES = 64 * 2**20

# (bytes, time of the last change in ns): another one, and the file is another.
Stamp = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Sound:
    """A file that was read.

    Attributes:
      stamp: of the file, before it was read.
      audio: float32 "t" at the rate that was asked for; None: it cannot be used.
      reason: why.
    """

    path: str
    stamp: Stamp
    audio: Waveform | None
    reason: str = ""


def stamp_of(path: str) -> Stamp:
    """That of a file; zeros where there is none."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):  # the latter of a name with a NUL byte
        return 0, 0
    return about.st_size, about.st_mtime_ns


def read_ahead(
    paths: Iterable[str], *, sample_rate: int, threads: int, ahead: int
) -> Iterator[Sound]:
    """Reads files, in order.

    Args:
      sample_rate: Hz, which they are resampled to.
      ahead: files that may wait, fewer if they are large.
    """
    waiting: collections.deque = collections.deque()
    n_bytes = 0
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    try:
        for path in paths:
            stamp = stamp_of(path)
            while waiting and (
                len(waiting) >= ahead or n_bytes + stamp[0] > AHEAD_BYTES
            ):
                sound = waiting.popleft().result()
                n_bytes -= sound.stamp[0]
                yield sound
            waiting.append(pool.submit(_read, path, stamp, sample_rate))
            n_bytes += stamp[0]
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(path: str, stamp: Stamp, sample_rate: int) -> Sound:
    try:
        path.encode()  # what a result of text can hold
        return Sound(path, stamp, read_audio(path, sample_rate=sample_rate))
    except AudioError as error:
        return Sound(path, stamp, None, str(error).removeprefix(f"{path}: "))
    except UnicodeEncodeError:
        return Sound(path, stamp, None, "its name is not UTF-8; rename it")
