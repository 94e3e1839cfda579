"""What the inference side costs a user: start, memory, and folders of files.

    start   seconds and peak memory of Python processes, from `import aemjax` to
            `aemjax classify one.wav`, over those of one that does no more than find
            JAX's devices
    files   `aemjax embed FOLDER` over a loop that hands one file after the other to
            `Classifier.embed`; both with reading, compiling and writing

Processes take turns; of the files each has one. Weights are random, audio is noise of 0.5
to 10 s.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf

from aemjax.audio.read import SAMPLE_RATE
from aemjax.export.release import write
from benchmarks.latency import NETWORKS
from benchmarks.parity import random_run

FILES = {"aemnet_dw 0.5 llf2": (1_000, 10_000), "aemresnet 1.0": ()}
DISTINCT = 1_000  # more files are further names of these
LENGTHS_S = (0.5, 10)
FLOOR = "find JAX's devices"
VERB = "from aemjax.cli import main; main()"
# Not of `getrusage`, where the memory of the process that started it counts too.
AT_EXIT = """
import atexit, re, sys
status = lambda: open("/proc/self/status").read()
atexit.register(lambda: print(*re.findall("VmHWM.*", status()), file=sys.stderr))
"""
LOOP = """
import sys
from pathlib import Path
import numpy as np
import aemjax
from aemjax.audio.read import read_audio
model, folder, out = sys.argv[1:]
classifier = aemjax.load(model)
files = sorted(Path(folder).iterdir())
np.save(out, np.stack([classifier.embed(read_audio(file)) for file in files]))
"""


def run(*, repeats: int) -> list[dict]:
    """Prints and returns a row for each process that starts, and each folder."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            model = Path(folder, f"{name}.released")
            write(random_run(Path(folder, f"{name}.run"), **NETWORKS[name]), model)
            sounds = Path(folder, f"{name}.sounds")
            write_sounds(sounds, max(FILES[name], default=1))
            rows += [{"network": name} | row for row in start(model, sounds, repeats)]
            for n in FILES[name]:
                row = embed_both(model, sounds, n)
                rows.append({"network": name} | row)
                print(describe(rows[-1]), flush=True)
    return rows


def write_sounds(folder: Path, n: int) -> None:
    """Noise of all lengths, the same for the same number of files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        path = folder / f"{i:05}.wav"
        if i < DISTINCT:
            samples = round(rng.uniform(*LENGTHS_S) * SAMPLE_RATE)
            sf.write(path, rng.normal(0, 0.1, samples), SAMPLE_RATE)
        else:
            os.link(folder / f"{i % DISTINCT:05}.wav", path)


def start(model: Path, sounds: Path, repeats: int) -> list[dict]:
    """A row for each process, medians over measurements in turn."""
    load = f"import aemjax; aemjax.load({str(model)!r})"
    classify = ("classify", str(sounds / "00000.wav"), "--model", str(model))
    with tempfile.TemporaryDirectory() as cache:
        cached = {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        measure(VERB, *classify, **cached)
        processes = {
            FLOOR: ("import jax; jax.devices()",),
            "import aemjax": ("import aemjax",),
            "import, load": (load,),
            "aemjax classify": (VERB, *classify),
            "the same, compiled before": (VERB, *classify),
        }
        found = {name: [] for name in processes}
        for _ in range(repeats):
            for name, command in processes.items():
                own = cached if name == "the same, compiled before" else {}
                found[name].append(measure(*command, **own))
    return [summarize(name, found[name], found[FLOOR]) for name in processes]


def measure(code: str, *arguments: str, **environment: str) -> tuple[float, float]:
    """(seconds, peak memory in MiB) of a Python process; on Linux alone.

    Raises:
      ValueError: if it fails.
    """
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT + code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise ValueError(f"{code} {' '.join(arguments)} failed: {done.stderr[-500:]}")
    return seconds, int(re.search(r"VmHWM:\s+(\d+) kB", done.stderr)[1]) / 1024


def summarize(
    name: str, own: list[tuple[float, float]], floor: list[tuple[float, float]]
) -> dict:
    """A row of a process from what `measure` gave in turns, printed too."""
    each = [ours[0] / theirs[0] for ours, theirs in zip(own, floor, strict=True)]
    row = {
        "process": name,
        "seconds": round(statistics.median(seconds for seconds, _ in own), 3),
        "peak MiB": round(statistics.median(peak for _, peak in own)),
        "seconds / floor": round(statistics.median(each), 3),
        "ratios": [round(ratio, 3) for ratio in each],
    }
    print(
        f"{name:<25} {row['seconds']:.2f} s, peak {row['peak MiB']} MiB; "
        f"/ {FLOOR} = {row['seconds / floor']:.2f}",
        flush=True,
    )
    return row


def embed_both(model: Path, sounds: Path, n: int) -> dict:
    """A row: the command and the loop, on the first files of a folder."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder, "part")
        part.mkdir()
        for path in sorted(sounds.iterdir())[:n]:
            os.link(path, part / path.name)
        table, looped = Path(folder, "out.npz"), Path(folder, "loop.npy")
        to = ("--model", str(model), "-o", str(table))
        ours, our_mib = measure(VERB, "embed", str(part), *to)
        theirs, their_mib = measure(LOOP, str(model), str(part), str(looped))
        with np.load(table) as content:
            embeddings = content["embeddings"]
        apart = np.abs(embeddings - (other := np.load(looped))).max()
    return {
        "files": n,
        "clips/s": round(n / ours, 1),
        "clips/s of the loop": round(n / theirs, 1),
        "embed / loop": round(theirs / ours, 3),
        "peak MiB": round(our_mib),
        "peak MiB of the loop": round(their_mib),
        "largest difference": float(f"{apart / np.abs(other).max():.2g}"),
    }


def describe(row: dict) -> str:
    """A row of files as a line."""
    return (
        f"{row['network']:<18} {row['files']:>6} files: {row['clips/s']} clips/s, "
        f"embed / loop = {row['embed / loop']:.2f}; peak {row['peak MiB']} and "
        f"{row['peak MiB of the loop']} MiB"
    )
