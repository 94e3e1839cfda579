"""Streaming on one thread of one core, beside one pass over the whole clip.

For each network and size of a block, seconds of computing per second of audio, the same
over that of the whole clip in the same run, and how long after a sample the first scores
of a window that it is in are known: stream time until the window has ended and what it
sees has been heard, and the computing then. Weights are random; one process for each
network.
"""

import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np

from aemjax.audio.read import SAMPLE_RATE
from aemjax.audio.read import statistics as mean_and_std
from aemjax.serve.classifier import Classifier
from aemjax.serve.streaming import ScoreStream
from aemjax.train.card import Card
from benchmarks.latency import NETWORKS as OF_LATENCY
from benchmarks.latency import rows_of_one_thread
from benchmarks.parity import random_variables

NETWORKS = {
    "aemnet_dw 0.5 llf2": OF_LATENCY["aemnet_dw 0.5 llf2"],
    "aemresnet 1.0": OF_LATENCY["aemresnet 1.0"],
}
BLOCKS_S = (0, 0.5, 1)
SECONDS = 28  # of audio: blocks of 0.96 s and hops of 1 s meet again after 24
CHUNK_S = 0.02  # that comes at once, as from a sound card
WINDOW_S, HOP_S = 5, 1
PLACE_SAMPLES = SAMPLE_RATE // 100  # from one sample that is looked at to the next


def run(*, repeats: int) -> list[dict]:
    """Prints and returns a row for each network and size of a block."""
    rows = []
    for name in NETWORKS:
        for row in rows_of_one_thread("benchmarks.streaming", name, repeats):
            rows.append({"network": name} | row)
            print(describe(rows[-1]), flush=True)
    return rows


def describe(row: Mapping) -> str:
    """A row as a line."""
    return (
        f"{row['network']:<18} blocks of {row['block_s']:>3} s: {row['load']:.3f} s of "
        f"computing per second, streaming / whole clip = {row['streaming / whole']:.2f}; "
        f"from a sample to its first score {row['median_latency_s']:.2f} s, "
        f"{row['worst_latency_s']:.2f} at worst, of which {row['look_ahead_s']:.2f} "
        f"look-ahead and {row['computing_ms'] / 1000:.3f} computing"
    )


def measure(
    model: Mapping, repeats: int, *, seconds: float | int = SECONDS
) -> list[dict]:
    """The rows of a network, in this process.

    Args:
      model: of `aemjax.models.create`.
      seconds: of audio.
    """
    classifier = random_classifier(model)
    rng = np.random.default_rng(0)
    audio = rng.normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)
    classifier.scores(audio)  # compiles
    for block_s in BLOCKS_S:
        stream_once(classifier, audio, block_s)
    whole, found = [], {block_s: [] for block_s in BLOCKS_S}
    for _ in range(repeats):
        start = time.perf_counter()
        classifier.scores(audio)
        whole.append(time.perf_counter() - start)
        for block_s in BLOCKS_S:
            found[block_s].append(stream_once(classifier, audio, block_s))
    return [
        summarize(block_s, own, whole, seconds=seconds)
        for block_s, own in found.items()
    ]


def random_classifier(model: Mapping) -> Classifier:
    """A network of random weights."""
    labels = [f"class {i}" for i in range(model["num_classes"])]
    card = Card(dict(model), SAMPLE_RATE, labels, False, "accuracy", "unknown", {})
    return Classifier(card, random_variables(**model))


def stream_once(classifier: Classifier, audio: np.ndarray, block_s: float) -> dict:
    """What one pass in chunks takes.

    Returns:
      "seconds" of all of it; "computing_s", the median of chunks that gave scores;
      "look_ahead_s"; "waits_s" of `waits`.
    """
    chunk = round(CHUNK_S * SAMPLE_RATE)
    mean, std = mean_and_std(audio)
    stream = ScoreStream(
        classifier,
        window_s=WINDOW_S,
        hop_s=HOP_S,
        mean=mean,
        std=std,
        block_s=block_s,
    )
    computing, ends, heard = [], [], []
    begin = time.perf_counter()
    for place in range(0, len(audio), chunk):
        start = time.perf_counter()
        if found := stream.push(audio[place : place + chunk]):
            computing.append(time.perf_counter() - start)
        ends += [round(window.end_s * SAMPLE_RATE) for window in found]
        heard += [stream.features.heard_samples] * len(found)
    stream.close()
    return {
        "seconds": time.perf_counter() - begin,
        "computing_s": statistics.median(computing),
        "look_ahead_s": stream.features.look_ahead_s,
        "waits_s": waits(ends, heard),
    }


def waits(ends: Sequence[int], heard: Sequence[int]) -> tuple[float, float]:
    """(median, longest) seconds of stream from samples to their first scores.

    Args:
      ends: of the windows in order, in samples; each begins before the last one's end.
      heard: samples of the stream, when the scores of each came.
    """
    places = np.arange(0, ends[-1], PLACE_SAMPLES)
    first = np.searchsorted(ends, places, side="right")  # windows end before their end
    found = (np.take(heard, first) - places) / SAMPLE_RATE
    return float(np.median(found)), float(found.max())


def summarize(
    block_s: float | int,
    streamed: list[dict],
    whole: list[float],
    *,
    seconds: float | int,
) -> dict:
    """A row: medians over measurements in turn.

    Args:
      streamed: of `stream_once`.
      whole: seconds of one pass over the whole clip, in the same turns.
    """
    each = [s["seconds"] / w for s, w in zip(streamed, whole, strict=True)]
    computing = statistics.median(s["computing_s"] for s in streamed)
    median, longest = streamed[0]["waits_s"]  # of the stream, so that all are the same
    return {
        "block_s": block_s,
        "load": round(statistics.median(s["seconds"] for s in streamed) / seconds, 4),
        "load of the whole clip": round(statistics.median(whole) / seconds, 4),
        "streaming / whole": round(statistics.median(each), 3),
        "ratios": [round(ratio, 3) for ratio in each],
        "look_ahead_s": round(streamed[0]["look_ahead_s"], 4),
        "computing_ms": round(1000 * computing, 3),
        "median_latency_s": round(median + computing, 4),
        "worst_latency_s": round(longest + computing, 4),
    }


if __name__ == "__main__":
    print(json.dumps(measure(NETWORKS[sys.argv[1]], int(sys.argv[2]))))
