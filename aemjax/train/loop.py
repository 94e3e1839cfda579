"""The loop that pretraining and fine-tuning share."""

import collections
import contextlib
import dataclasses
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping

import jax
from absl import logging
from jax.sharding import Mesh

from aemjax.train import distributed
from aemjax.train.all_runs import AllCheckpoints
from aemjax.train.checkpoint import Card, Checkpoints
from aemjax.train.profiler import Profiler
from aemjax.train.progress import Progress
from aemjax.train.sharding import global_batch, shardings
from aemjax.train.state import TrainState
from aemjax.train.watchdog import Watchdog

EXIT_PREEMPTED = 75  # EX_TEMPFAIL: a scheduler may start the same command again
# Batches lie on the device before their step runs: few, or they fill its memory.
STEPS_AHEAD = 2


class Preempted(Exception):
    """SIGTERM came; the state was saved, and the same command goes on from it."""


@dataclasses.dataclass(frozen=True)
class Cadence:
    """How long a run is, and what it does when.

    Attributes:
      total_steps: updates to make.
      eval_every_steps, save_every_steps, log_every_steps: every evaluation is saved too.
      hang_timeout_s: no step for so long ends the process; longer than compiling or an
        evaluation takes. 0: never.
    """

    total_steps: int
    eval_every_steps: int
    save_every_steps: int
    log_every_steps: int
    hang_timeout_s: int | float = 0


def fit(
    state: TrainState,
    *,
    train_step: Callable,
    batches: Callable[[int], Iterator[Mapping]],
    evaluate: Callable[[TrainState], Mapping[str, int | float]],
    observe: Callable[[int], Mapping[str, int | float]],
    mesh: Mesh,
    cadence: Cadence,
    flops_per_clip: int | float,
    checkpoints: Checkpoints | AllCheckpoints,
    card: Card,
    writer,
    profiler: Profiler,
) -> TrainState:
    """Trains up to `total_steps`, from the newest checkpoint if there is one.

    Args:
      state: at step 0; saved as such before the first update.
      train_step: (state, global batch) -> (state, scalars); donates the state.
      batches: step -> this process' batches from that step on.
      evaluate: state -> metrics, on every process.
      observe: updates done -> what else to write beside the loss, on every process.
      flops_per_clip: of training, for the FLOP utilisation.
      writer: of metrics; names get "train/" and "eval/" in front.

    Returns:
      The state after the last step.

    Raises:
      ValueError: if the loss is not finite, or a record cannot be read; the last
        checkpoint is untouched.
      OSError: if the set cannot be read; likewise.
      Preempted: after SIGTERM, when the state is saved.
    """
    replicated, split = shardings(mesh)
    total_steps = cadence.total_steps
    step = checkpoints.latest_step
    if step is None:
        checkpoints.save(state, card)
        step = 0
    elif step:
        state = checkpoints.restore(state, step=step, sharding=replicated)
        logging.info("resumed at step %d of %d", step, total_steps)
    if step == total_steps:
        return state
    progress = Progress(step, total_steps, mesh=mesh, flops_per_clip=flops_per_clip)
    in_flight = collections.deque()
    first = True
    with (
        contextlib.closing(batches(step)) as source,
        Preemption() as preemption,
        Watchdog(cadence.hang_timeout_s) as watchdog,
        profiler,
    ):
        while step < total_steps:
            profiler.at(step, in_flight)
            with progress.waiting():
                batch = _next(source, step)
            state, scalars = train_step(state, global_batch(batch, split))
            step += 1
            if first:
                jax.block_until_ready(state)
                progress.restart(step)  # compiling tells nothing of the rate
                first = False
            else:
                progress.count(batch["mean"].size * jax.process_count())
            in_flight.append(scalars["loss"])
            if len(in_flight) > STEPS_AHEAD:
                in_flight.popleft().block_until_ready()
            watchdog.beat(step)
            last = step == total_steps
            evaluates = last or step % cadence.eval_every_steps == 0
            preempted = preemption.came()
            saves = evaluates or preempted or step % cadence.save_every_steps == 0
            if saves or step % cadence.log_every_steps == 0:
                scalars = {key: float(value) for key, value in scalars.items()}
                _check_finite(scalars, step)
                scalars |= progress.report(scalars["loss"])
                scalars |= observe(step)
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
            if saves:
                checkpoints.save(state, card, metrics)
                writer.flush()
                progress.restart(step)
            if saves and (preempted or preemption.noted):
                checkpoints.wait()
                raise Preempted(f"saved at step {step} of {total_steps}")
        checkpoints.wait()
    return state


def eval_interval(total_steps: int, epochs: float, every_epochs: float) -> int:
    """Steps between evaluations, so that the last one falls on the last step."""
    return max(1, math.ceil(total_steps / evaluations(epochs, every_epochs)))


def evaluations(epochs: float, every_epochs: float) -> int:
    """How many there are in a run at most; where steps do not divide, fewer."""
    return max(1, round(epochs / every_epochs))


def _prefixed(split: str, values: Mapping[str, int | float]) -> dict[str, int | float]:
    return {f"{split}/{key}": value for key, value in values.items()}


def _next(source: Iterator[Mapping], step: int) -> Mapping:
    try:
        return next(source)
    except (ValueError, OSError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(
            f"reading the batch of step {step} failed: {error}. The last checkpoint is "
            "intact; mend the data, then start the same command again"
        ) from error


def _check_finite(scalars: Mapping[str, int | float], step: int) -> None:
    # The loss is that before the update, the gradient what the update was made of.
    if not (math.isfinite(scalars["loss"]) and math.isfinite(scalars["grad_norm"])):
        which = [
            key for key, x in scalars.items() if "/" in key and not math.isfinite(x)
        ]
        raise ValueError(
            f"the loss is {scalars['loss']} at step {step} (gradient norm "
            f"{scalars['grad_norm']}"
            + (f"; of several runs: {', '.join(which)}" if which else "")
            + "); lower optimizer.learning_rate, or look for "
            "bad audio. The last checkpoint is from before"
        )


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

    def came(self) -> bool:
        """Whether to save and leave now; called once a step, on every process."""
        return distributed.preempted() or self.noted

    def __exit__(self, *_) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
