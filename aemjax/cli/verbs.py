"""What the verbs of the command have in common."""

import argparse
from collections.abc import Callable

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
