"""A run's folder: what it was started with, and whether it may be gone on with."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

CONFIG = "config.json"
RESULTS = "results.json"
PACKAGES = ("aemjax", "jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")

# What may change when a run is resumed: where things lie and how they are logged.
FREE = (
    r"data/path",
    r"data/threads",
    r"train/log_every_steps",
    r"checkpoint/(every_steps|keep_latest)",
)


def open_workdir(workdir: str | Path, config: Mapping[str, Any]) -> bool:
    """Makes a run's folder, or checks that an old one is of the same config.

    Writes config.json: the resolved config, the git commit, package versions.

    Args:
      config: nested, of JSON values.

    Returns:
      Whether the run has finished already.

    Raises:
      ValueError: if the folder is of another config, naming the keys that differ, or
        holds something else.
    """
    workdir = Path(workdir)
    config = json.loads(json.dumps(dict(config)))
    path = workdir / CONFIG
    if path.is_file():
        found = _bound(json.loads(path.read_text())["config"])
        if found != (wanted := _bound(config)):
            raise ValueError(
                f"{workdir} is the run of another config; "
                + difference(found, wanted, "its config.json", "this config")
                + "\nuse another --workdir, or the old config"
            )
    elif workdir.is_dir() and any(p.suffix != ".tmp" for p in workdir.iterdir()):
        raise ValueError(
            f"{workdir} is not empty and holds no {CONFIG}; choose another --workdir"
        )
    elif jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        about = {"config": config, "commit": git_commit(), "versions": versions()}
        write_json(path, about)
    return (workdir / RESULTS).is_file()


@contextlib.contextmanager
def locked(workdir: str | Path):
    """Keeps a second run out of the folder; two would overwrite each other's steps.

    Raises:
      ValueError: if another process trains there now.
    """
    if jax.process_index() > 0:
        yield
        return
    with (Path(workdir) / CONFIG).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another process is training in {workdir}; wait for it, or stop it"
            ) from error
        yield


def _bound(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as {"section/key": value}, without the keys that are free."""

    def walk(prefix: str, value):
        if isinstance(value, Mapping):
            for key, child in value.items():
                yield from walk(f"{prefix}/{key}" if prefix else key, child)
        else:
            yield prefix, value

    return {
        key: value
        for key, value in walk("", config)
        if not any(re.fullmatch(pattern, key) for pattern in FREE)
    }


def difference(
    left: Mapping[Any, Any], right: Mapping[Any, Any], left_name: str, right_name: str
) -> str:
    """Says where two flat mappings differ, both sides, ten entries at most."""
    keys = sorted(set(left) | set(right))
    differ = [key for key in keys if left.get(key) != right.get(key)]
    lines = [
        f"{key}: {left.get(key, 'absent')} in {left_name}, "
        f"{right.get(key, 'absent')} in {right_name}"
        for key in differ[:10]
    ]
    more = f"\n  and {len(differ) - 10} more" if len(differ) > 10 else ""
    return f"{len(differ)} entries differ:\n  " + "\n  ".join(lines) + more


def read_results(workdir: str | Path) -> dict[str, Any]:
    """The results of a finished run.

    Raises:
      ValueError: if there are none.
    """
    path = Path(workdir) / RESULTS
    if not path.is_file():
        raise ValueError(f"{workdir} has no {RESULTS}; is the run finished?")
    return json.loads(path.read_text())


def write_results(workdir: str | Path, results: Mapping[str, Any]) -> None:
    """Marks a run as finished; only the first process writes."""
    if jax.process_index() == 0:
        write_json(Path(workdir) / RESULTS, results)


def write_json(path: Path, value: Any) -> None:
    """Writes a whole file or none of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)


def git_commit() -> str:
    """The commit of the checkout that runs, "+" after it if files differ from it."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit + "+" * bool(_git(here, "status", "--porcelain", "-uno"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # an installed package, or no git


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}
