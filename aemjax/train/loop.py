"""The loop that pretraining and fine-tuning share."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import jax
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.sharding import global_batch, shardings
from aemjax.train.state import TrainState

EXIT_PREEMPTED = 75  # EX_TEMPFAIL: a scheduler may start the same command again


class Preempted(Exception):
    """SIGTERM came; the state was saved, and the same command goes on from it."""


def fit(
    state: TrainState,
    *,
    train_step: Callable,
    batches: Callable[[int], Iterator[Mapping]],
    evaluate: Callable[[TrainState], Mapping[str, int | float]],
    mesh: Mesh,
    total_steps: int,
    eval_every_steps: int,
    save_every_steps: int,
    log_every_steps: int,
    checkpoints: Checkpoints,
    card: Card,
    writer,
) -> TrainState:
    """Trains up to `total_steps`, from the newest checkpoint if there is one.

    Args:
      state: at step 0; saved as such before the first update.
      train_step: (state, global batch) -> (state, scalars); donates the state.
      batches: step -> this process' batches from that step on.
      evaluate: state -> metrics, on every process.
      writer: of metrics; names get "train/" and "eval/" in front.

    Returns:
      The state after the last step.

    Raises:
      ValueError: if the loss is not finite; the last checkpoint is untouched.
      Preempted: after SIGTERM, when the state is saved.
    """
    replicated, split = shardings(mesh)
    step = checkpoints.latest_step
    if step is None:
        checkpoints.save(state, card)
        step = 0
    elif step:
        state = checkpoints.restore(state, step=step, sharding=replicated)
        logging.info("resumed at step %d of %d", step, total_steps)
    if step == total_steps:
        return state
    progress = Progress(step, total_steps)
    with contextlib.closing(batches(step)) as source, Preemption() as preemption:
        while step < total_steps:
            with progress.waiting():
                batch = next(source)
            state, scalars = train_step(state, global_batch(batch, split))
            step += 1
            progress.count(len(batch["audio"]) * jax.process_count())
            last = step == total_steps
            evaluates = last or step % eval_every_steps == 0
            preempted = preemption.came(step)
            saves = evaluates or preempted or step % save_every_steps == 0
            if saves or step % log_every_steps == 0:
                scalars = {key: float(value) for key, value in scalars.items()}
                _check_finite(scalars, step)
                scalars |= progress.report(scalars["loss"])
                writer.write(step, _prefixed("train", scalars))
            metrics = None
            if evaluates:
                metrics = dict(evaluate(state))
                writer.write(step, _prefixed("eval", metrics))
                logging.info(
                    "step %d: %s",
                    step,
                    " ".join(f"{key} {value:.4g}" for key, value in metrics.items()),
                )
                progress.restart(step)
            if saves:
                checkpoints.save(state, card, metrics)
            if saves and (preempted or preemption.noted):
                checkpoints.wait()
                raise Preempted(f"saved at step {step} of {total_steps}")
    checkpoints.wait()
    return state


def eval_interval(total_steps: int, epochs: float, every_epochs: float) -> int:
    """Steps between evaluations, so that the last one falls on the last step.

    Raises:
      ValueError: if `every_epochs` is not positive.
    """
    if every_epochs <= 0:
        raise ValueError(f"eval.every_epochs is {every_epochs}, expected more than 0")
    evaluations = max(1, round(epochs / every_epochs))
    return max(1, math.ceil(total_steps / evaluations))


def _prefixed(split: str, values: Mapping[str, int | float]) -> dict[str, int | float]:
    return {f"{split}/{key}": value for key, value in values.items()}


def _check_finite(scalars: Mapping[str, int | float], step: int) -> None:
    # The loss is that before the update, the gradient what the update was made of.
    if not (math.isfinite(scalars["loss"]) and math.isfinite(scalars["grad_norm"])):
        raise ValueError(
            f"the loss is {scalars['loss']} at step {step} (gradient norm "
            f"{scalars['grad_norm']}); lower optimizer.learning_rate, or look for "
            "bad audio. The last checkpoint is from before"
        )


class Progress:
    """Clips per second, time left, and the share of time spent waiting for data."""

    def __init__(self, step: int, total_steps: int):
        self._total = total_steps
        self.restart(step)

    def restart(self, step: int) -> None:
        """Begins a new stretch; time between stretches does not count."""
        self._step = step
        self._steps = self._clips = 0
        self._waited = 0.0
        self._start = time.monotonic()

    def waiting(self):
        """Context in which the next batch is awaited."""
        return _Stopwatch(self)

    def count(self, clips: int) -> None:
        self._steps += 1
        self._clips += clips

    def report(self, loss: float) -> dict[str, int | float]:
        """Logs the stretch and begins another; call it after the device is done."""
        seconds = time.monotonic() - self._start
        step = self._step + self._steps
        rates = {
            "clips_per_s": self._clips / seconds,
            "data_wait": self._waited / seconds,
        }
        left = (self._total - step) * seconds / self._steps
        logging.info(
            "step %d/%d loss %.4f, %.1f clips/s, %.0f%% waiting for data, %s left",
            step,
            self._total,
            loss,
            rates["clips_per_s"],
            100 * rates["data_wait"],
            time.strftime("%H:%M:%S", time.gmtime(left)),
        )
        self.restart(step)
        return rates


class _Stopwatch:
    def __init__(self, progress: Progress):
        self._progress = progress

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *_) -> None:
        self._progress._waited += time.monotonic() - self._start


class Preemption:
    """Notes SIGTERM; all processes agree on the step at which it counts."""

    def __enter__(self) -> "Preemption":
        self.noted = False
        self._previous = None
        # With several processes JAX has a handler of its own, which makes them agree.
        alone = jax.process_count() == 1
        if alone and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def _note(self, *_) -> None:
        self.noted = True

    def came(self, step: int) -> bool:
        """Whether to save and leave after `step`."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self.noted

    def __exit__(self, *_) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
