"""SIGTERM to one process: it ends at once, except in a training's loop, which saves first."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from aemjax.train.loop import Preempted


class _Terminated(BaseException):
    """Not an Exception: libraries would take it for an error of their own."""


@contextlib.contextmanager
def ending_on_sigterm(message: str) -> Iterator[Callable[[], None]]:
    """Raises Preempted with a message on SIGTERM, wherever the main thread is.

    Yields a function for places where it is safe to end: it raises Preempted if the
    signal came and was lost, as Python loses what is raised in a destructor.
    """
    came = False

    def note(*_) -> None:
        nonlocal came
        came = True
        raise _Terminated

    def check() -> None:
        if came:
            raise Preempted(message)

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield check
    except Preempted:
        raise
    except (_Terminated, Exception) as error:
        # A database wraps what is raised within it in an error of its own.
        if not came:
            raise
        raise Preempted(message) from error
    finally:
        signal.signal(signal.SIGTERM, previous)
