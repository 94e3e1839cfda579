"""Runs benchmarks: those that are named, or all that a CPU can in minutes."""

import argparse
import contextlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
from absl import logging

from aemjax.train.workdir import git_commit, versions
from benchmarks import (
    accelerator,
    collectives,
    compile,
    evaluation,
    folds,
    frontends,
    inference,
    latency,
    loop,
    ops,
    parity,
    pipeline,
    prepare,
    read,
    scaling,
    storage,
    streaming,
    training,
    waiting,
)

ON_A_CPU = {
    "loop": loop.run,
    "ops": ops.run,
    "prepare": prepare.run,
    "read": read.run,
    "storage": storage.run,
}
# Run only when named: they take an accelerator, long, or other libraries.
BENCHMARKS = ON_A_CPU | {
    "accelerator": accelerator.run,
    "collectives": collectives.run,
    "compile": compile.run,
    "evaluation": evaluation.run,
    "folds": folds.run,
    "frontends": frontends.run,
    "inference": inference.run,
    "latency": latency.run,
    "parity": parity.run,
    "pipeline": pipeline.run,
    "scaling": scaling.run,
    "streaming": streaming.run,
    "training": training.run,
    "waiting": waiting.run,
}
# No other may hold the device; they have --smoke.
ALONE = {
    "accelerator",
    "compile",
    "evaluation",
    "frontends",
    "pipeline",
    "scaling",
    "training",
}
OPTIONS = {"parity": ("runs", "data", "split"), "pipeline": ("data",)}  # of theirs
RESULTS = Path(__file__).parent / "results"
CACHE = "JAX_COMPILATION_CACHE_DIR"
ENVIRONMENT = ("XLA_FLAGS", "GLIBC_TUNABLES")  # said beside the rows


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
        "--smoke", action="store_true", help=f"of {sorted(ALONE)}: tiny, to try it"
    )
    of_parity = parser.add_argument_group("parity; --data also of pipeline")
    of_parity.add_argument(
        "--run",
        action="append",
        dest="runs",
        help="one to compare, instead of networks of random weights; may be repeated",
    )
    of_parity.add_argument("--data", help="prepared set, instead of synthetic clips")
    of_parity.add_argument("--split", help="clips of the set, such as full:1")
    return parser


def _command(name: str, options: argparse.Namespace) -> str:
    words = ["python -m benchmarks", name, "--repeats", str(options.repeats)]
    for run in options.runs or ():
        words += ["--run", run]
    if options.data:
        words += ["--data", options.data]
    if options.split:
        words += ["--split", options.split]
    return " ".join(words)


@contextlib.contextmanager
def compiling_afresh() -> Iterator[None]:
    """Hides the user's compilation cache from this process and those that it starts."""
    folder, own = os.environ.pop(CACHE, None), jax.config.jax_compilation_cache_dir
    jax.config.update(CACHE.lower(), None)
    try:
        yield
    finally:
        jax.config.update(CACHE.lower(), own)
        if folder is not None:
            os.environ[CACHE] = folder


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    if options.repeats < 1:
        parser().error(f"--repeats is {options.repeats}, expected 1 or more")
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser().error(f"unknown benchmarks {unknown}; known: {sorted(BENCHMARKS)}")
    if ALONE & set(options.names) and len(options.names) > 1:
        parser().error(f"name {sorted(ALONE)} alone: no other may hold the device")
    if options.smoke and (not ALONE & set(options.names) or options.write):
        parser().error(f"--smoke is for {sorted(ALONE)}, and its rows for nobody")
    own = {key: vars(options)[key] for key in OPTIONS["parity"] if vars(options)[key]}
    of_name = OPTIONS.get(options.names[0], ()) if len(options.names) == 1 else ()
    if not set(own) <= set(of_name):
        parser().error(
            "--run, --data and --split are for parity alone; pipeline has --data too"
        )
    if "split" in of_name and bool(options.data) != bool(options.split):
        parser().error("--data and --split go together")
    how = {"repeats": options.repeats} | own
    if options.smoke:
        how["smoke"] = True
    for name in options.names or ON_A_CPU:
        try:
            with compiling_afresh():
                rows = BENCHMARKS[name](**how)
        except ImportError as error:
            if options.names:
                raise
            print(f"{name} is left out: {error}")
            continue
        if options.write:
            device = jax.devices()[0].device_kind
            about = {
                "command": _command(name, options),
                "commit": git_commit(),
                "versions": versions(),
                **{name: os.environ.get(name, "") for name in ENVIRONMENT},
                "machine": f"{platform.machine()}, {device}, {len(jax.devices())}",
            }
            path = RESULTS / f"{name}_{jax.default_backend()}.json"
            path.write_text(json.dumps(about | {"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    logging.set_verbosity(logging.ERROR)  # of what is measured
    main()
