"""Preparing WAV files of 44.1 kHz, against sox and ffmpeg doing the same conversion.

Each makes 16 kHz mono int16 on one core. Ours also reads, checks and measures every clip
and writes shards and an index. The peers are run once a file, as scripts do, and once for
all files joined, which saves them the start of a process a file.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from aemjax.data.prepare import prepare

CLIPS = 100
CLIP_S = 10
RATE = 44_100
MANY = 8  # times the clips, to see whether memory grows

# Not getrusage's peak, which begins with that of the process that started this one.
MEMORY = """
import re, sys
from aemjax.data.prepare import prepare
prepare("manifest", sys.argv[1], sys.argv[2], clips_per_shard=50)
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


def run(*, repeats: int) -> list[dict]:
    """Prints and returns ratios of clips/s, ours over each peer's, and peak memory.

    Raises:
      ImportError: if neither sox nor ffmpeg is installed.
    """
    peers = {
        name: function
        for name, function in PEERS.items()
        if shutil.which(name.split(",")[0])
    }
    if not peers:
        raise ImportError("it needs sox or ffmpeg, which the system's packages have")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _write(folder / "in", CLIPS)
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        try:
            rows = _against(peers, folder, repeats)
        finally:
            os.sched_setaffinity(0, cores)
        _write(folder / "many", MANY * CLIPS)
        rows.append(_memory(folder))
    return rows


def _write(folder: Path, clips: int) -> None:
    rng = np.random.default_rng(0)
    (folder / "noise").mkdir(parents=True)
    for i in range(clips):
        samples = rng.normal(0, 0.1, CLIP_S * RATE)
        sf.write(folder / "noise" / f"{i}.wav", samples, RATE, subtype="PCM_16")


def _against(peers: dict[str, Callable], folder: Path, repeats: int) -> list[dict]:
    files = sorted((folder / "in").rglob("*.wav"))
    out = folder / "out"

    def ours() -> None:
        prepare("manifest", folder / "in", out)

    def seconds(convert: Callable[[], None]) -> float:
        shutil.rmtree(out, ignore_errors=True)
        start = time.perf_counter()
        convert()
        return time.perf_counter() - start

    def theirs(convert: Callable) -> float:
        (folder / "raw").mkdir(exist_ok=True)
        return seconds(lambda: convert(files, folder / "raw"))

    seconds(ours)  # what is imported and read for the first time
    rows, own = [], []
    ratios = {name: [] for name in peers}
    for _ in range(repeats):
        own.append(seconds(ours))
        for name, convert in peers.items():
            ratios[name].append(theirs(convert) / own[-1])
    rate = CLIPS / statistics.median(own)
    print(f"prepare: {rate:.0f} clips of {CLIP_S} s a second, on one core")
    for name, values in ratios.items():
        ratio = statistics.median(values)
        print(f"prepare / {name:<24} {ratio:.2f}")
        rows.append(
            {"peer": name, "clips/s, ours / peer": ratio, "ours, clips/s": rate}
        )
    return rows


def _sox_each(files: list[Path], folder: Path) -> None:
    for file in files:
        out = folder / f"{file.stem}.raw"
        subprocess.run(["sox", file, *SOX_OUT, out], check=True)


def _sox_joined(files: list[Path], folder: Path) -> None:
    subprocess.run(["sox", *files, *SOX_OUT, folder / "all.raw"], check=True)


def _ffmpeg_each(files: list[Path], folder: Path) -> None:
    for file in files:
        out = folder / f"{file.stem}.raw"
        subprocess.run([*FFMPEG, "-i", file, *FFMPEG_OUT, out], check=True)


def _ffmpeg_joined(files: list[Path], folder: Path) -> None:
    listed = folder / "files.txt"
    listed.write_text("".join(f"file '{file}'\n" for file in files))
    joined = ["-f", "concat", "-safe", "0", "-i", listed]
    subprocess.run([*FFMPEG, *joined, *FFMPEG_OUT, folder / "all.raw"], check=True)


SOX_OUT = ("-r", "16000", "-c", "1", "-b", "16", "-e", "signed")
FFMPEG = ("ffmpeg", "-y", "-v", "error", "-nostdin", "-threads", "1")
FFMPEG_OUT = ("-ar", "16000", "-ac", "1", "-f", "s16le")
PEERS = {
    "sox, a process a file": _sox_each,
    "sox, files joined": _sox_joined,
    "ffmpeg, a process a file": _ffmpeg_each,
    "ffmpeg, files joined": _ffmpeg_joined,
}


def _memory(folder: Path) -> dict:
    """Peak memory of two preparations of their own, one of many times the clips."""
    row = {"clips": (CLIPS, MANY * CLIPS), "peak memory, MB": []}
    for name in ("in", "many"):
        output = subprocess.run(
            [sys.executable, "-c", MEMORY, folder / name, folder / f"{name}.set"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        row["peak memory, MB"].append(round(int(output) / 1024))
    print(
        "peak memory of {} and {} clips: {} and {} MB".format(
            *row["clips"], *row["peak memory, MB"]
        )
    )
    return row
