"""Runs benchmarks: those that are named, or all that a CPU can in minutes."""

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path

import jax

from aemjax.train.workdir import git_commit, versions
from benchmarks import (
    accelerator,
    collectives,
    folds,
    loop,
    ops,
    prepare,
    read,
    storage,
)

ON_A_CPU = {
    "loop": loop.run,
    "ops": ops.run,
    "prepare": prepare.run,
    "read": read.run,
    "storage": storage.run,
}
# Named alone: they take an accelerator, or long.
BENCHMARKS = ON_A_CPU | {
    "accelerator": accelerator.run,
    "collectives": collectives.run,
    "folds": folds.run,
}
RESULTS = Path(__file__).parent / "results"


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {sorted(BENCHMARKS)}; default: {sorted(ON_A_CPU)}",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"into {RESULTS.name}/")
    parser.add_argument(
        "--smoke", action="store_true", help="accelerator: tiny, to try it on a CPU"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser().error(f"unknown benchmarks {unknown}; known: {sorted(BENCHMARKS)}")
    if "accelerator" in options.names and len(options.names) > 1:
        parser().error("name accelerator alone: no other may hold the device")
    if options.smoke and (options.names != ["accelerator"] or options.write):
        parser().error("--smoke is for accelerator alone, and its rows for nobody")
    for name in options.names or ON_A_CPU:
        how = {"repeats": options.repeats} | ({"smoke": True} if options.smoke else {})
        try:
            rows = BENCHMARKS[name](**how)
        except ImportError as error:
            if options.names:
                raise
            print(f"{name} is left out: {error}")
            continue
        if options.write:
            device = jax.devices()[0].device_kind
            about = {
                "command": f"python -m benchmarks {name} --repeats {options.repeats}",
                "commit": git_commit(),
                "versions": versions(),
                "machine": f"{platform.machine()}, {device}, {len(jax.devices())}",
            }
            path = RESULTS / f"{name}_{jax.default_backend()}.json"
            path.write_text(json.dumps(about | {"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
