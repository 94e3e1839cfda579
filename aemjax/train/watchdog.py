"""Ends a run that hangs, so that whatever started it can start it again."""

import contextlib
import faulthandler
import os
import sys
import threading
import time

from aemjax.train.distributed import whoami

EXIT_HUNG = 70  # EX_SOFTWARE: neither an error that was raised (1), nor preemption (75)


class Watchdog(contextlib.AbstractContextManager):
    """Ends the process with EXIT_HUNG when no `beat` comes for `timeout_s`.

    It says so on standard error, with what every thread was doing. 0 s: it never does.
    """

    def __init__(self, timeout_s: int | float):
        """Raises: ValueError: if `timeout_s` is negative."""
        if timeout_s < 0:
            raise ValueError(f"timeout_s is {timeout_s}, expected 0 (off) or more")
        self._timeout_s = timeout_s
        self._over = threading.Event()
        self._step: int | None = None
        self._last = time.monotonic()

    def __enter__(self) -> "Watchdog":
        self._last = time.monotonic()
        if self._timeout_s:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()

    def beat(self, step: int) -> None:
        """Says that `step` is done."""
        self._step, self._last = step, time.monotonic()

    def _watch(self) -> None:
        silent_s = 0.0
        while not self._over.wait(self._timeout_s - silent_s):
            silent_s = time.monotonic() - self._last
            if silent_s >= self._timeout_s:
                self._end(silent_s)

    def _end(self, silent_s: float) -> None:
        last = "no step" if self._step is None else f"step {self._step}"
        sys.stderr.write(
            f"error: {whoami()} hangs: {last} was done, and nothing for {silent_s:.0f} s "
            "since; the last checkpoint is intact, start the same command again. Its "
            "threads:\n"
        )
        sys.stderr.flush()
        faulthandler.dump_traceback(all_threads=True)
        os._exit(EXIT_HUNG)
