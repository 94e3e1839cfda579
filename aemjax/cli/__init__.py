"""The `aemjax` command: each verb calls one function of the package."""

import argparse
import difflib
import sys
from collections.abc import Sequence

from aemjax import __version__
from aemjax.cli import data, embedding, exchange, networks, page, serving, streaming

# Of `prepare`, beside which a Beam runner's own are passed on.
OWN_FLAGS = ("--allow-missing", "--skip-unreadable", "--storage", "--workers", "--seed")
# Of Beam's own, those that look like a misspelt one of these.
BEAM_FLAGS = ("--num_workers",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one verb; bad input ends in one line on standard error and exit code 1."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if getattr(options, "runner", None):
        for flag in unknown:  # Beam would drop a misspelt one of ours
            name = flag.partition("=")[0]
            meant = difflib.get_close_matches(name, OWN_FLAGS, cutoff=0.8)
            if meant and name not in BEAM_FLAGS:
                parser.error(f"unrecognized argument {flag}; is {meant[0]} meant?")
        options.beam_flags = [f"--runner={options.runner}", *unknown]
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if "" not in sys.path:  # the current folder, where modules of your own may lie
        sys.path.append("")
    try:
        options.run(options)
    except ImportError as error:
        if options.traceback:
            raise
        sys.exit(f"error: {error}; this verb needs {options.needs}")
    except (ValueError, OSError) as error:
        if options.traceback:
            raise
        sys.exit(f"error: {error}")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Each verb's parser by its name, in the order of `aemjax --help`."""
    return _add_verbs(argparse.ArgumentParser(prog="aemjax"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aemjax", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error comes from"
    )
    _add_verbs(parser)
    return parser


def _add_verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for add in (
        data.add_datasets,
        data.add_synthesize,
        data.add_prepare,
        data.add_inspect,
        networks.add_summary,
        networks.add_size,
        networks.add_evaluate,
        embedding.add_embed,
        serving.add_classify,
        streaming.add_stream,
        page.add_serve,
        serving.add_release,
        exchange.add_export,
        exchange.add_import,
        networks.add_report,
    ):
        add(verbs)
    return dict(verbs.choices)
