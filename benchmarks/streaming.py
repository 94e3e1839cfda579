"""Streaming on one thread of one core, beside one pass over the whole clip.

For each network and size of a block, seconds of computing per second of audio, the same
over that of the whole clip in the same run, and how long after a sample the frame that
ends with it is known: what the network looks ahead, what waits for its block to be full,
and the computing of that block. Weights are random; one process for each network.
"""

import json
import statistics
import sys
import time
from collections.abc import Mapping

import numpy as np

from aemjax.audio.read import SAMPLE_RATE
from aemjax.audio.read import statistics as mean_and_std
from aemjax.serve.classifier import Classifier
from aemjax.serve.streaming import FeatureStream, ScoreStream
from aemjax.train.card import Card
from benchmarks.latency import NETWORKS as OF_LATENCY
from benchmarks.latency import rows_of_one_thread
from benchmarks.parity import random_variables

NETWORKS = {
    "aemnet_dw 0.5 llf2": OF_LATENCY["aemnet_dw 0.5 llf2"],
    "aemresnet 1.0": OF_LATENCY["aemresnet 1.0"],
}
BLOCKS_S = (0, 0.5, 1)
SECONDS = 20  # of audio
CHUNK_S = 0.02  # that comes at once, as from a sound card
WINDOW_S, HOP_S = 5, 1


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
        f"from sample to score {row['latency_s']:.2f} s = {row['look_ahead_s']:.2f} "
        f"look-ahead + {row['waiting_s']:.2f} waiting + {row['block_ms'] / 1000:.3f} "
        "computing"
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
      "seconds" of all of it; "block_s", the median of chunks that made frames of the
      backbone; "look_ahead_s"; "waiting_s", the most that a frame came after it.
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
    counter = _Counter(stream.features)
    blocks, waiting, frames = [], [0.0], 0
    begin = time.perf_counter()
    for place in range(0, len(audio), chunk):
        start = time.perf_counter()
        stream.push(audio[place : place + chunk])
        if counter.frames > frames:
            blocks.append(time.perf_counter() - start)
            ended = (frames + 1) * stream.features.stride_samples
            known = ended + stream.features.look_ahead_samples
            waiting.append((stream.features.heard_samples - known) / SAMPLE_RATE)
            frames = counter.frames
    stream.close()
    return {
        "seconds": time.perf_counter() - begin,
        "block_s": statistics.median(blocks),
        "look_ahead_s": stream.features.look_ahead_s,
        "waiting_s": max(waiting),
    }


class _Counter:
    """Counts the frames of the backbone that a stream has made."""

    def __init__(self, features: FeatureStream):
        self.frames = 0
        push = features.push

        def counted(audio):
            found = push(audio)
            self.frames += len(found.hlf)
            return found

        features.push = counted


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
    block = statistics.median(s["block_s"] for s in streamed)
    look_ahead_s, waiting_s = streamed[0]["look_ahead_s"], streamed[0]["waiting_s"]
    return {
        "block_s": block_s,
        "load": round(statistics.median(s["seconds"] for s in streamed) / seconds, 4),
        "load of the whole clip": round(statistics.median(whole) / seconds, 4),
        "streaming / whole": round(statistics.median(each), 3),
        "ratios": [round(ratio, 3) for ratio in each],
        "look_ahead_s": round(look_ahead_s, 4),
        "waiting_s": round(waiting_s, 4),
        "block_ms": round(1000 * block, 3),
        "latency_s": round(look_ahead_s + waiting_s + block, 4),
    }


if __name__ == "__main__":
    print(json.dumps(measure(NETWORKS[sys.argv[1]], int(sys.argv[2]))))
