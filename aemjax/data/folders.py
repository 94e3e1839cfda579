"""Folders on disk, and on gs://, s3://, hdfs:// and whatever else fsspec reads.

A remote file system needs its own fsspec package: gcsfs, s3fs, adlfs, ...
"""

import io
import os
import shutil
from pathlib import Path

from upath import UPath

AnyPath = Path | UPath


def as_path(path: str | os.PathLike) -> AnyPath:
    """A path of pathlib's; of "gs://..." one with the same methods."""
    return UPath(path) if "://" in str(path) else Path(path)


def is_remote(path: AnyPath) -> bool:
    return not isinstance(path, Path)


def files_below(folder: AnyPath) -> list[str]:
    """Every file below a folder, sorted; strings, as a set may have millions."""
    if is_remote(folder):
        return sorted(map(folder.fs.unstrip_protocol, folder.fs.find(folder.path)))
    found = []
    for where, _, names in os.walk(folder, followlinks=True):
        found += [os.path.join(where, name) for name in names]
    return sorted(found)


def open_file(path: str) -> str | io.BytesIO:
    """What a reader of audio takes: a file's name, or the content of a remote one."""
    if "://" not in path:
        return path
    content = io.BytesIO(UPath(path).read_bytes())
    content.name = path  # for messages
    return content


def write_text(path: AnyPath, text: str) -> None:
    """Writes a whole file or none of it."""
    if is_remote(path):  # where objects appear when they are whole
        path.write_text(text)
        return
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def move(temporary: Path, path: AnyPath) -> None:
    """Gives a whole local file its final name; a remote one is uploaded."""
    if is_remote(path):
        path.fs.put_file(str(temporary), path.path)
        temporary.unlink()
    else:
        shutil.move(temporary, path)
