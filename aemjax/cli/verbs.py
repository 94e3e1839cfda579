"""What the verbs of the command have in common."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator

TRAIN = "`pip install 'aemjax[train]'`"
BASE = "`pip install aemjax`"


def add_verb(
    verbs, name: str, run: Callable, text: str, *, needs: str = TRAIN
) -> argparse.ArgumentParser:
    """The parser of a new verb.

    Args:
      run: what it does with the parsed options.
      needs: what to install where something is missing.
    """
    parser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run, needs=needs)
    return parser


def one_line(text: str) -> str:
    """Text with escapes for what would break the line, or do as a terminal's command.

    Names of files may hold line breaks, and bytes that are no text.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


@contextlib.contextmanager
def until_the_pipe_closes() -> Iterator[None]:
    """Ends the block in silence when nobody reads standard output any more: `| head`.

    Raises:
      ValueError: if there is none.
    """
    if sys.stdout is None:  # `>&-`
        raise ValueError(
            "standard output is closed, expected a terminal, a file or a pipe; redirect "
            "it, such as `> FILE`"
        )
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # Python would flush once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """An argument `checkpoint`, as `aemjax.train.checkpoint.load` takes it."""
    parser.add_argument(
        "checkpoint", help="a run's folder; '@last' or '@STEP' behind it"
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """An option `--split`, as `aemjax.data.splits.by_split` takes it."""
    parser.add_argument(
        "--split", help="'eval', 'a+b', 'full:5' (fold 5); default: all"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Options `--model`, as `aemjax.load` takes it, and `--top-k` of its classes."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="folder of `aemjax release`, or a run's; '@last' or '@STEP' behind that",
    )
    parser.add_argument("--top-k", type=int, default=5, help="classes; default: 5")
