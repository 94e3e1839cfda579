"""How fast a run goes: what the log and the metrics say of it."""

import contextlib
import time
from collections.abc import Iterator

from absl import logging
from jax.sharding import Mesh

from aemjax.train import chips


class Progress:
    """Rates over a stretch of steps, from one report to the next.

    Time between stretches (evaluation) does not count.
    """

    def __init__(
        self, step: int, total_steps: int, *, mesh: Mesh, flops_per_clip: int | float
    ):
        """Begins the first stretch.

        Args:
          flops_per_clip: floating-point operations that training on one clip takes.
        """
        self._total = total_steps
        self._flops_per_clip = flops_per_clip
        self._device = mesh.local_devices[0]
        peak = chips.peak_flops(self._device)
        self._peak = peak and peak * mesh.size
        if not peak:
            logging.info(
                "no FLOP utilisation: the peak of %r is not in aemjax.train.chips",
                self._device.device_kind,
            )
        self.restart(step)

    def restart(self, step: int) -> None:
        """Begins a new stretch."""
        self._step = step
        self._steps = self._clips = 0
        self._waited = 0.0
        self._start = time.monotonic()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Context in which the next batch is awaited."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def count(self, clips: int) -> None:
        """One more step, with this many clips on all hosts."""
        self._steps += 1
        self._clips += clips

    def report(self, loss: float) -> dict[str, int | float]:
        """Logs the stretch and begins another; call it after the device is done.

        Returns:
          "clips_per_s"; "data_wait", the share of time in which no batch was ready;
          where they are known "mfu", the share of the chips' peak that the model's
          operations make, and "memory_gib", the most that a device had in use. Nothing
          of a stretch without steps.
        """
        step = self._step + self._steps
        if not self._steps:
            logging.info("step %d/%d loss %.4f", step, self._total, loss)
            return {}
        seconds = time.monotonic() - self._start
        rate = self._clips / seconds
        rates = {"clips_per_s": rate, "data_wait": self._waited / seconds}
        if self._peak:
            rates["mfu"] = rate * self._flops_per_clip / self._peak
        if peak_bytes := chips.peak_memory_bytes(self._device):
            rates["memory_gib"] = peak_bytes / 2**30
        left = (self._total - step) * seconds / self._steps
        logging.info(
            "step %d/%d loss %.4f, %.1f clips/s, %s%.0f%% waiting for data, %s left",
            step,
            self._total,
            loss,
            rate,
            f"{rates['mfu']:.1%} of peak, " if self._peak else "",
            100 * rates["data_wait"],
            _hours(left),
        )
        self.restart(step)
        return rates


def _hours(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
