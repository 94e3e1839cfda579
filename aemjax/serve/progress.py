"""How far a long job is: one line on standard error."""

import io
import sys
import time

# Between lines: in a terminal, where each takes the place of the last, and elsewhere.
TERMINAL_S, LOG_S = 0.5, 30.0


class Progress:
    """Says how many of how many are done, how fast, and for how long yet.

    A context manager, after which the last state stands. It may be called as often as
    one likes.
    """

    def __init__(self, unit: str, *, file: io.TextIOBase | None = None):
        """Takes the word for what is counted, in the plural."""
        self._unit = unit
        self._file = file or sys.stderr
        self._live = self._file.isatty()
        self._start = time.monotonic()
        self._before: int | None = None
        self._shown_at = -float("inf")
        self._line = self._shown = ""

    def __call__(self, done: int, total: int, failed: int = 0) -> None:
        """Shows that `done` of `total` are, `failed` of them in vain.

        What was done at the first call is taken for another run's, and not for speed.
        """
        now = time.monotonic()
        if self._before is None:
            self._before, self._start = done, now
        speed = (done - self._before) / max(now - self._start, 1e-9)
        self._line = f"{done:,} of {total:,} {self._unit}"
        if failed:
            self._line += f", {failed:,} failed"
        if speed:
            left_s = round((total - done) / speed)
            self._line += (
                f", {speed:.1f} a second, {left_s // 60}:{left_s % 60:02} left"
            )
        if now - self._shown_at >= (TERMINAL_S if self._live else LOG_S):
            self._show(now)

    def _show(self, now: float) -> None:
        before, after = ("\r", "\033[K") if self._live else ("", "\n")
        self._file.write(before + self._line + after)
        self._file.flush()
        self._shown_at, self._shown = now, self._line

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self._line != self._shown:
            self._show(time.monotonic())
        if self._live and self._shown:
            self._file.write("\n")
