"""Folders on disk, and on gs://, s3://, hdfs:// and whatever else fsspec reads.

A remote file system needs its own fsspec package: gcsfs, s3fs, adlfs, ...
"""

import contextlib
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from upath import UPath

AnyPath = Path | UPath


class UnreadableError(OSError):
    """A source that is there and cannot be read now; the message names it."""


def as_path(path: str | os.PathLike) -> AnyPath:
    """An absolute path of pathlib's; of "gs://..." one with the same methods.

    Raises:
      ValueError: if what reads its file system is not installed, or its text does not
        hold all that is needed to find it.
    """
    if "://" not in str(path):
        return Path(path).absolute()  # the workers of a cluster have their own folder
    found = UPath(path)
    if found.storage_options:  # tasks and sources are texts, and these are in none
        raise ValueError(
            f"{path}: {dict(found.storage_options)} would not reach the workers, which "
            f"are told {found}; name them in the file system's own configuration, or "
            "mount the folder"
        )
    try:
        _ = found.fs
    except ImportError as error:
        raise ValueError(f"{path}: {error}") from error
    return found


def is_remote(path: AnyPath) -> bool:
    return not isinstance(path, Path)


def files_below(folder: AnyPath) -> list[str]:
    """Every file below a folder, sorted; strings, as a set may have millions.

    Links are followed: a folder of two names is listed under both. Those that lead back
    to a folder above are not.

    Raises:
      OSError: if a folder cannot be listed; none of a folder that does not exist.
    """
    if is_remote(folder):
        found = map(folder.fs.unstrip_protocol, folder.fs.find(folder.path))
    else:
        found = list(_walk(folder))
    # macOS leaves notes on "x.wav" in archives and on foreign disks, as "._x.wav".
    return sorted(file for file in found if not os.path.basename(file).startswith("._"))


def _walk(folder: Path) -> Iterator[str]:
    """Follows links, but those to a folder above, of which there would be no end."""
    above = []  # (name, identity) of the folders that lead to this one
    for where, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        while above and above[-1][0] != os.path.dirname(where):
            above.pop()
        try:
            about = os.stat(where)
        except OSError as error:
            _raise(error)
            folders.clear()
            continue
        here = (about.st_dev, about.st_ino)
        if any(here == other for _, other in above):
            folders.clear()
            continue
        above.append((where, here))
        yield from (os.path.join(where, name) for name in names)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def open_file(path: str) -> str | io.BytesIO:
    """What a reader of audio takes: a file's name, or the content of a remote one.

    Raises:
      ValueError: if a remote file is not there.
      UnreadableError: if it is, and cannot be read: a network that fails, no rights.
    """
    if "://" not in path:
        return path
    try:
        content = io.BytesIO(UPath(path).read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"{path} has gone since it was listed; fetch it") from error
    except OSError as error:
        raise UnreadableError(
            f"{path} cannot be read: {error}; check the network and your rights, and run "
            "the same command again"
        ) from error
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


def write_new_text(path: AnyPath, text: str) -> None:
    """Writes a whole file where there is none; of several processes one succeeds.

    A bucket, and a file system without hard links, cannot tell who is the first: the last
    stays.

    Raises:
      FileExistsError: if it is there.
    """
    if is_remote(path):
        path.write_text(text)
        return
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(text)
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:
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


@contextlib.contextmanager
def lock_file(path: Path, message: str, *, create: bool = False) -> Iterator[None]:
    """Holds a local file to the block's end or the process's, even a kill.

    Args:
      message: of the error if another process holds it.
      create: make the file if it is not there.

    Raises:
      ValueError: with the message, if another process holds it.
      FileNotFoundError: if it is not there, and not to be made.
    """
    import fcntl  # which Windows lacks

    # NFS locks what is open for writing alone.
    with path.open("a" if create else "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError) as error:
            raise ValueError(message) from error
        if not held:  # who held it has removed it meanwhile
            raise ValueError(message)
        yield


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keeps a second run of the same result out; the lock of one that died is free.

    Raises:
      ValueError: if another run writes it now.
    """
    path = out.with_name(out.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    message = f"another process is writing {out}; wait for it, or choose another --out"
    with lock_file(path, message, create=True):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
