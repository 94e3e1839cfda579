"""Verbs about networks in use: released, and run on files."""

import io
import json
import sys
from collections.abc import Iterable

from aemjax.cli.verbs import (
    BASE,
    add_checkpoint,
    add_model,
    add_verb,
    one_line,
    until_the_pipe_closes,
)


def add_release(verbs) -> None:
    parser = add_verb(
        verbs,
        "release",
        _release,
        "write a checkpoint's network as a folder to pass on: weights, card, README.md",
        needs=BASE,
    )
    add_checkpoint(parser)
    parser.add_argument("--out", required=True, help="folder to make")


def _release(options) -> None:
    from aemjax.export.release import write

    print(json.dumps(write(options.checkpoint, options.out)))


def add_classify(verbs) -> None:
    parser = add_verb(
        verbs,
        "classify",
        _classify,
        "classify audio files; exit code 1 if one cannot be read",
        needs=BASE,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="WAV, FLAC, Ogg, MP3")
    add_model(parser)
    parser.add_argument(
        "--window-s",
        type=float,
        help="cut longer files into windows of so many seconds; default: whole files",
    )
    parser.add_argument(
        "--hop-s", type=float, help="from window to window; default: a window"
    )
    parser.add_argument("--format", choices=tuple(PRINTERS), default="table")


def _classify(options) -> None:
    import aemjax
    from aemjax.audio.read import AudioError
    from aemjax.serve.files import classify_files

    found = classify_files(
        aemjax.load(options.model),
        options.files,
        top_k=options.top_k,
        window_s=options.window_s,
        hop_s=options.hop_s,
    )
    failed = []

    def pieces():
        for pieces in found:
            if isinstance(pieces, AudioError):
                print(f"error: {one_line(str(pieces))}", file=sys.stderr)
                failed.append(pieces)
            else:
                yield from pieces

    with until_the_pipe_closes():
        PRINTERS[options.format](pieces())
    if failed:
        sys.exit(1)


def _print_table(pieces: Iterable) -> None:
    for piece in pieces:
        print(f"{one_line(piece.file)}, {piece.start_s:.2f} to {piece.end_s:.2f} s")
        for label, probability in piece.top:
            print(f"    {probability:.4f}  {label}")


def _print_json(pieces: Iterable) -> None:
    """A list, with an object a line."""
    before = "["
    for piece in pieces:
        about = {
            "file": piece.file,
            "start_s": piece.start_s,
            "end_s": piece.end_s,
            "top": [{"label": label, "probability": p} for label, p in piece.top],
        }
        print(before + json.dumps(about), end="")
        before = ",\n"
    print("]" if before != "[" else "[]")


def _print_csv(pieces: Iterable) -> None:
    import csv

    if isinstance(sys.stdout, io.TextIOWrapper):  # names that are no text keep bytes
        sys.stdout.reconfigure(errors="surrogateescape")
    # Python quotes no carriage return by itself.
    quoting = csv.QUOTE_NONNUMERIC
    writer = csv.writer(sys.stdout, lineterminator="\n", quoting=quoting)
    writer.writerow(["file", "start_s", "end_s", "rank", "label", "probability"])
    for piece in pieces:
        for rank, (label, probability) in enumerate(piece.top, start=1):
            where = (piece.file, piece.start_s, piece.end_s)
            writer.writerow([*where, rank, label, float(f"{probability:.6g}")])


PRINTERS = {"table": _print_table, "json": _print_json, "csv": _print_csv}
