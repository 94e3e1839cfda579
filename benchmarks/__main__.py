"""Runs the benchmarks that a CPU can: `python -m benchmarks [NAME ...]`."""

import argparse
import json
import platform
from pathlib import Path

import jax

from aemjax.train.workdir import git_commit, versions
from benchmarks import ops, prepare, read, storage

BENCHMARKS = {
    "ops": ops.run,
    "prepare": prepare.run,
    "read": read.run,
    "storage": storage.run,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {sorted(BENCHMARKS)}")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"into {RESULTS.name}/")
    options = parser.parse_args()
    for name in options.names or BENCHMARKS:
        if name not in BENCHMARKS:
            parser.error(f"unknown benchmark {name!r}; known: {sorted(BENCHMARKS)}")
        try:
            rows = BENCHMARKS[name](repeats=options.repeats)
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
