"""A run's folder: what it was started with, and whether it may be gone on with."""

import contextlib
import importlib.metadata
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from aemjax.data.folders import (
    AnyPath,
    as_path,
    is_remote,
    lock_file,
    write_new_text,
    write_text,
)
from aemjax.train.distributed import agree, compare

CONFIG = "config.json"
RESULTS = "results.json"
PACKAGES = ("aemjax", "jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")

_ABOUT = ("config", "commit", "versions")
_WAY_OUT = "restore the file, or take another folder"

# What may change when a run is resumed: where things lie and how they are logged.
FREE = (
    r"data/path",
    r"data/(threads|max_damaged)",
    r"train/(log_every_steps|hang_timeout_s|remat)",
    r"checkpoint/(every_steps|keep_latest)",
)


def open_workdir(workdir: str | AnyPath, config: Mapping[str, Any]) -> bool:
    """Makes a run's folder, or checks that an old one is of the same config.

    Writes config.json: the resolved config, the git commit, package versions. The first
    process does it, and all hear the outcome. Of several, all must have the same: a
    process that read another data set would train on other clips unnoticed.

    Args:
      workdir: a folder that every process sees; "gs://..." too.
      config: nested, of JSON values.

    Returns:
      Whether the run has finished already.

    Raises:
      ValueError: if the folder is of another config, naming the keys that differ, or
        holds something else; or if another process has another config, commit or
        version of a package.
    """
    about = {
        "config": json.loads(json.dumps(dict(config))),
        "commit": git_commit(),
        "versions": versions(),
    }
    _check_same(about)
    return agree(lambda: _open(as_path(workdir), about))


def _check_same(about: Mapping[str, Any]) -> None:
    """Compares this process' facts with those of the first."""
    facts = {"commit": about["commit"], **about["versions"], **bound(about["config"])}
    first, others = compare(facts)
    if facts != first:
        raise ValueError(
            "the processes of a run must have the same; "
            + difference(first, facts, "process 0", "this one")
        )
    if others:
        raise ValueError(
            f"process {others[0]} has another config, data set, commit or package than "
            "process 0; it says which"
        )


def _open(workdir: AnyPath, about: Mapping[str, Any]) -> bool:
    config = about["config"]
    path = workdir / CONFIG
    # Looked at before CONFIG, which another process may be writing now.
    used = workdir.is_dir() and any(p.suffix != ".tmp" for p in workdir.iterdir())
    if not path.is_file():
        if used:
            raise ValueError(
                f"{workdir} is not empty and holds no {CONFIG}; choose another --workdir"
            )
        workdir.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            write_new_text(path, _json(about))
    began = _read(path, *_ABOUT)
    found = bound(began["config"])
    if found != (wanted := bound(config)):
        raise ValueError(
            f"{workdir} is the run of another config; "
            + difference(found, wanted, "its config.json", "this config")
            + "\nuse another --workdir, or the old config"
        )
    finished = (workdir / RESULTS).is_file()
    if not finished and began["commit"] != about["commit"]:
        logging.warning(
            "%s was begun by commit %s and goes on by %s; its results name both",
            workdir,
            began["commit"],
            about["commit"],
        )
    return finished


@contextlib.contextmanager
def locked(workdir: str | AnyPath):
    """Keeps a second run out of the folder; two would overwrite each other's steps.

    A bucket has no locks: there, it only says so.

    Raises:
      ValueError: if another run trains there now; on every process.
    """
    with contextlib.ExitStack() as held:
        agree(lambda: _lock(as_path(workdir), held))
        yield


def _lock(workdir: AnyPath, held: contextlib.ExitStack) -> None:
    if is_remote(workdir):
        logging.warning("%s cannot be locked; start one run there at a time", workdir)
        return
    message = f"another process is training in {workdir}; wait for it, or stop it"
    held.enter_context(lock_file(workdir / CONFIG, message))


def bound(config: Mapping[str, Any]) -> dict[str, Any]:
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


def read_results(workdir: str | AnyPath) -> dict[str, Any]:
    """The results of a finished run.

    Raises:
      ValueError: if there are none, or the file is damaged.
    """
    path = as_path(workdir) / RESULTS
    if not path.is_file():
        raise ValueError(f"{workdir} has no {RESULTS}; is the run finished?")
    return _read(path)


def read_config(workdir: str | AnyPath) -> dict[str, Any]:
    """What config.json of a run's folder says: "config", "commit", "versions".

    Raises:
      ValueError: if the file is damaged.
    """
    return _read(as_path(workdir) / CONFIG, *_ABOUT)


def write_results(workdir: str | AnyPath, results: Mapping[str, Any]) -> None:
    """Marks a run as finished; the first process writes, the others wait for it.

    The file names the commit that ends it too: another may have begun it.

    Raises:
      OSError: if it cannot be written; ValueError where there are several processes.
    """
    about = {"commit": git_commit(), **results}
    agree(lambda: write_text(as_path(workdir) / RESULTS, _json(about)))


def _read(path: AnyPath, *keys: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except ValueError as error:  # of JSON, of UTF-8
        raise ValueError(f"{path} is damaged ({error}); {_WAY_OUT}") from error
    if not isinstance(value, dict) or (missing := [k for k in keys if k not in value]):
        told = "no object" if not isinstance(value, dict) else f"no {missing[0]!r}"
        raise ValueError(f"{path} is damaged ({told} in it); {_WAY_OUT}")
    return value


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


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
