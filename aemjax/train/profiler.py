"""A trace of some steps, to be looked at with XProf or Perfetto."""

from collections.abc import Iterable

import jax
from absl import logging

from aemjax.data.folders import AnyPath


class Profiler:
    """Records the steps asked for into FOLDER/profile, each host its own.

    Use as a context, which ends a trace that a run does not get to the end of.
    """

    def __init__(self, steps: tuple[int, int] | None, folder: str | AnyPath):
        """Checks the steps.

        Args:
          steps: (first, the one after the last), counted from 0; None: records nothing.

        Raises:
          ValueError: if they are not in order.
        """
        if steps is not None and not 0 <= steps[0] < steps[1]:
            raise ValueError(f"profile_steps is {steps}, expected 0 <= first < last")
        self._steps = steps
        self._folder = str(folder) + "/profile"
        self._on = False

    def at(self, step: int, pending: Iterable[jax.Array]) -> None:
        """Call it before each step, with what the device is still at."""
        if self._steps is None:
            return
        first, end = self._steps
        if not self._on and first <= step < end:
            jax.profiler.start_trace(self._folder)
            self._on = True
        elif self._on and step >= end:
            jax.block_until_ready(list(pending))
            self._stop()

    def _stop(self) -> None:
        if self._on:
            jax.profiler.stop_trace()
            self._on = False
            logging.info("a trace is in %s", self._folder)

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_) -> None:
        self._stop()
