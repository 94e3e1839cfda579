"""The verb about networks that listen."""

import contextlib
import json
import sys
from collections.abc import Iterator

from aemjax.cli.verbs import BASE, add_model, add_verb, until_the_pipe_closes

READ_BYTES = 1 << 16
PIPE = (
    "pipe raw samples, such as `ffmpeg -i FILE -f s16le -ac 1 -ar 16000 - | aemjax ...`"
)


def add_stream(verbs) -> None:
    parser = add_verb(
        verbs,
        "stream",
        _stream,
        "classify what comes on standard input, again and again: raw 16-bit "
        "little-endian mono samples at the network's rate",
        needs=BASE,
    )
    add_model(parser)
    parser.add_argument(
        "--window-s", type=float, default=5.0, help="that is scored; default: 5"
    )
    parser.add_argument(
        "--hop-s",
        type=float,
        default=1.0,
        help="from score to score, a window at most; default: 1",
    )
    parser.add_argument(
        "--block-s",
        type=float,
        help="computed at once: shorter is sooner, and dearer; default: 0.5, or a hop",
    )
    audio = parser.add_argument_group("how the audio is standardised")
    audio.add_argument("--mean", type=float, help="of the audio, full scale being 1")
    audio.add_argument("--std", type=float, help="its deviation; both or none")
    audio.add_argument(
        "--memory-s",
        type=float,
        default=10.0,
        help="without them: by what was heard, of which that so long ago counts 1/e as "
        "much; 'inf': all the same; default: 10",
    )
    parser.add_argument("--format", choices=tuple(LINES), default="table")


def _stream(options) -> None:
    # Ctrl-C is how a microphone is stopped.
    with contextlib.suppress(KeyboardInterrupt), until_the_pipe_closes():
        for line in _lines(options):
            print(line, flush=True)


def _lines(options) -> Iterator[str]:
    import aemjax
    from aemjax.serve.classifier import check_top_k
    from aemjax.serve.streaming import ScoreStream

    check_top_k(options.top_k)
    if sys.stdin is None:  # `<&-`
        raise ValueError(f"standard input is closed; {PIPE}")
    classifier = aemjax.load(options.model)
    block_s = min(0.5, options.hop_s) if options.block_s is None else options.block_s
    stream = ScoreStream(
        classifier,
        window_s=options.window_s,
        hop_s=options.hop_s,
        mean=options.mean,
        std=options.std,
        memory_s=options.memory_s,
        block_s=block_s,
    )
    write = LINES[options.format]

    def written(windows):
        for window in windows:
            top = classifier.top(window.scores, options.top_k)
            yield write(window.start_s, window.end_s, top)

    for samples in _samples(sys.stdin.buffer):
        yield from written(stream.push(samples))
    yield from written(stream.close())


def _samples(file) -> Iterator:
    """Chunks of int16, as long as there are samples at once.

    Raises:
      ValueError: at the end of a number of bytes that is odd, or at once on a WAV file.
    """
    import numpy as np

    if file.isatty():
        raise ValueError(f"standard input is a terminal; {PIPE}")
    count, rest = 0, b""
    while data := file.read1(READ_BYTES):
        if not count and data[:4] in (b"RIFF", b"fLaC", b"OggS"):
            raise ValueError(
                f"standard input begins with {data[:4]!r}: a file, not raw samples; {PIPE}"
            )
        count += len(data)
        data = rest + data
        rest = data[len(data) // 2 * 2 :]
        yield np.frombuffer(data[: len(data) - len(rest)], "<i2")
    if not count:
        raise ValueError(f"standard input is empty; {PIPE}")
    if rest:
        raise ValueError(
            f"standard input ended after {count} bytes, expected two for each sample; is "
            f"it 16-bit? {PIPE}"
        )


def _table_line(start_s: float, end_s: float, top) -> str:
    scores = ", ".join(f"{probability:.4f} {label}" for label, probability in top)
    return f"{start_s:8.2f} to {end_s:8.2f} s  {scores}"


def _json_line(start_s: float, end_s: float, top) -> str:
    about = [{"label": label, "probability": p} for label, p in top]
    return json.dumps({"start_s": start_s, "end_s": end_s, "top": about})


LINES = {"table": _table_line, "json": _json_line}
