"""Orbax's manager of checkpoints, where it does otherwise than training needs."""

import contextlib
import functools
import logging
from collections.abc import Iterator

import orbax.checkpoint as ocp

from aemjax.train.checkpoint_errors import reading


class Manager(ocp.CheckpointManager):
    """Of the steps in a folder."""

    def __init__(self, folder: str, options: ocp.CheckpointManagerOptions):
        self.reading = functools.partial(
            reading, folder, training=not options.read_only
        )
        with _without_word_of_reading():
            super().__init__(folder, options=options)  # reads metrics

    def metrics(self, step: int) -> dict[str, int | float] | None:
        with self.reading(step, "metrics"):
            return super().metrics(step)

    def reached_preemption(self, step: int) -> bool:
        # The loop asks JAX, once a step: asking counts as having done that step.
        return False


@contextlib.contextmanager
def _without_word_of_reading() -> Iterator[None]:
    """Orbax warns of each folder that is opened to be read, whatever the options."""

    def tells_more(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Given directory is read only")

    logger = logging.getLogger("absl")
    logger.addFilter(tells_more)
    try:
        yield
    finally:
        logger.removeFilter(tells_more)
