"""What can go wrong with checkpoints: one line each, with the way out.

No process waits for another here: one may have failed alone.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator

import jax
import orbax.checkpoint as ocp

# TensorStore appends its whole specification.
_DETAILS = re.compile(r"\n| \[(?:tensorstore_spec|source locations)")
# How its messages begin that tell nothing of the files.
_NO_DAMAGE = (
    "DEADLINE_EXCEEDED",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
)
# How Orbax's begin where what is stored is whole, but not what was asked for.
_MISMATCH = ("User-provided restore item and on-disk", "Requested shape: ")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def whole_steps(folder: str) -> list[int]:
    """Every whole step in a folder of checkpoints, ascending."""
    found = ocp.path.step.standard_name_format().find_all(folder)
    return sorted(step.step for step in found)


@contextlib.contextmanager
def reading(folder: str, step: int, item: str, *, training: bool) -> Iterator[None]:
    """Says so where a step is damaged; other errors stay what they are.

    Args:
      folder: of all steps.
      item: what is read of the step.
      training: the way out is to train on from another step; else to load another.

    Raises:
      ValueError: if it is damaged, or not what was asked for.
      OSError: if it cannot be read now.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError):
        raise  # of a process that has gone, or of a device
    # Of a damaged file Orbax raises whatever comes: a bare Exception, KeyError, ...
    except Exception as error:
        reason = _reason(error)
        if reason.startswith(_MISMATCH):
            raise
        if _tells_no_damage(error, reason):
            raise OSError(
                f"cannot read {folder}/{step}/{item}: {reason}; mend that, then start "
                "the same command again"
            ) from error
        raise ValueError(
            _damage(folder, step, f"{item}: {reason}", training)
        ) from error


@contextlib.contextmanager
def writing(folder: str) -> Iterator[None]:
    """Raises: OSError: if a checkpoint cannot be written."""
    try:
        yield
    except (ValueError, OSError) as error:  # TensorStore raises the former
        remedy = "free space" if _tells_full_disk(error) else "mend that"
        raise OSError(
            f"cannot write a checkpoint to {folder}: {_reason(error)}; {remedy}, then "
            "start the same command again"
        ) from error


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return _DETAILS.split(str(error), maxsplit=1)[0] or type(error).__name__


def _tells_no_damage(error: Exception, reason: str) -> bool:
    missing = FileNotFoundError | NotADirectoryError
    if isinstance(error, OSError) and not isinstance(error, missing):
        return True
    return reason.startswith(_NO_DAMAGE)


def _tells_full_disk(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(os.strerror(code) in str(error) for code in _FULL)


def _damage(folder: str, step: int, reason: str, training: bool) -> str:
    steps = whole_steps(folder)
    if step not in steps:
        return f"{folder} holds no step {step}; it holds {steps}"
    steps.remove(step)
    if training:
        then = f"go on from step {steps[-1]}" if steps else "begin anew"
        way_out = f"remove that step's folder to {then}"
    elif steps:
        run = folder.rpartition("/")[0]
        way_out = f"take another step, such as {run}@{steps[-1]}"
    else:
        way_out = "its run holds no other step"
    return f"{folder}/{step} is damaged ({reason}); {way_out}"
