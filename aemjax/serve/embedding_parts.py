"""What an unfinished run has embedded, in a folder beside the result.

    OUT.parts/about.json  which network's, and with logits or without
    OUT.parts/00001.npz   "paths", "stamps", "embedding", "logits": never changed
    OUT.lock              held by the run that writes them

A part has its name when it is whole, so a run may be killed at any time.
"""

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aemjax.data.folders import write_text
from aemjax.serve.read_ahead import Stamp

ABOUT = "about.json"
Arrays = dict[str, np.ndarray]


class Parts:
    """The parts of one result.

    Attributes:
      folder: where they are.
    """

    def __init__(self, out: Path, about: dict[str, Any]):
        """Makes the folder, or goes on in it.

        Args:
          out: the result's file.
          about: what parts must have in common, for JSON.

        Raises:
          ValueError: if the folder holds parts of something else, or no parts.
        """
        self.folder = out.with_name(out.name + ".parts")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / ABOUT
        if not path.exists():
            if list(self.folder.iterdir()) not in (
                [],
                [path.with_name(ABOUT + ".tmp")],
            ):
                raise ValueError(
                    f"{self.folder} holds no {ABOUT}, so it is no unfinished run's; move "
                    "it away, or choose another --out"
                )
            write_text(path, json.dumps(about) + "\n")
        elif (theirs := _read_about(path)) != about:
            raise ValueError(
                f"{self.folder} is of an unfinished run with {theirs}, this one is with "
                f"{about}; remove it, or choose another --out"
            )
        self._names = sorted(path.name for path in self.folder.glob("[0-9]*.npz"))

    def add(
        self, paths: Sequence[str], stamps: Sequence[Stamp], values: Arrays
    ) -> None:
        """Writes one more part: rows "n ..." of each path."""
        last = int(self._names[-1].removesuffix(".npz")) if self._names else 0
        name = f"{last + 1:05}.npz"
        with self.unfinished(self.folder / name) as temporary:
            with temporary.open("wb") as file:
                about = {"paths": np.array(paths), "stamps": np.array(stamps, np.int64)}
                np.savez(file, **about, **values)
        self._names.append(name)

    def done(self) -> dict[str, Stamp]:
        """The files that are embedded, and their stamps then."""
        return {
            path: tuple(stamp)
            for part in self._read("paths", "stamps")
            for path, stamp in zip(
                part["paths"].tolist(), part["stamps"].tolist(), strict=True
            )
        }

    def gather(self, paths: Sequence[str]) -> Arrays:
        """Rows of these files, in this order; of what was embedded twice, the last."""
        place = {path: i for i, path in enumerate(paths)}
        whole: Arrays = {}
        for part in self._read():
            found = [place.get(path, -1) for path in part["paths"].tolist()]
            own = np.flatnonzero(np.array(found) >= 0)
            for key in part.keys() - {"paths", "stamps"}:
                values = part[key]
                empty = np.empty((len(paths), values.shape[1]), values.dtype)
                whole.setdefault(key, empty)[np.array(found)[own]] = values[own]
        return whole

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    @contextlib.contextmanager
    def unfinished(self, path: Path) -> Iterator[Path]:
        """A file to write, which gets its name at the end of the block if all went well."""
        temporary = self.folder / "unfinished"
        yield temporary
        os.replace(temporary, path)

    def _read(self, *keys: str) -> Iterator[Arrays]:
        for name in self._names:
            path = self.folder / name
            try:
                with np.load(path) as part:
                    yield {key: part[key] for key in keys or part.files}
            except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
                raise ValueError(
                    f"{path} is damaged ({error}); remove it: its files are embedded anew"
                ) from error


def _read_about(path: Path):
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}); remove {path.parent}: its files are embedded "
            "anew"
        ) from error
