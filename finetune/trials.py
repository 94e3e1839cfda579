"""The trials of a sweep, in an Optuna study that several processes may share."""

import contextlib
import dataclasses
import fcntl
import itertools
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from absl import logging
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from aemjax.train import workdir
from finetune.search_space import Parameter, Value, grid

SAMPLERS = ("grid", "random", "tpe")
# A folder that holds nothing but *.tmp counts as empty when a sweep opens it.
LOCK = "lock.tmp"
MAKING_TIMEOUT_S = 60


@dataclasses.dataclass(frozen=True)
class Trials:
    """A study seen from one folder.

    Attributes:
      folder: of the sweep; trial n trains in folder/trial{n}.
      total: how many trials there shall be; None of a grid, which has its own number.
      seed: of what random and tpe draw.
    """

    folder: Path
    study: optuna.Study
    storage: optuna.storages.RDBStorage
    parameters: tuple[Parameter, ...]
    sampler: str
    total: int | None
    seed: int

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps the other processes of this folder waiting."""
        with (self.folder / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def close(self) -> None:
        """Lets go of the database."""
        _close(self.storage)

    @contextlib.contextmanager
    def next(self) -> Iterator[tuple[optuna.Trial, dict[str, Value]] | None]:
        """The next trial and its values, for this process alone; None if none is left.

        One that is not told an outcome is handed out again, to whoever asks next.
        """
        with contextlib.ExitStack() as held:
            with self.locked():
                self._free_the_abandoned()
                trial = self._claim(held)
            if trial is None:
                yield None
                return
            try:
                values = {p.field: p.suggest(trial) for p in self.parameters}
                trial.set_user_attr("values", values)
                yield trial, values
            finally:
                with self.locked():
                    if not self._state(trial).is_finished():
                        self._set_state(trial, TrialState.WAITING)
                    self._lock_of(trial.number).unlink()

    def reported(self, trial: optuna.Trial) -> set[int]:
        """Where a trial, this time or before it was interrupted, reported a value."""
        return set(self.storage.get_trial(trial._trial_id).intermediate_values)

    def _claim(self, held: contextlib.ExitStack) -> optuna.Trial | None:
        started = self.study.get_trials(deepcopy=False)
        waiting = [trial for trial in started if trial.state is TrialState.WAITING]
        if not waiting and self.total is not None and len(started) < self.total:
            self.study.enqueue_trial({})  # what it takes is drawn when it starts
            waiting = self.study.get_trials(
                deepcopy=False, states=(TrialState.WAITING,)
            )
        for trial in waiting:
            if self.total is not None and trial.number >= self.total:
                break  # another folder's process asked for one more just then
            # Before it counts as running, so that one killed here is found abandoned.
            file = self._lock_of(trial.number).open("a")
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._set_state(trial, TrialState.RUNNING):
                held.enter_context(file)
                # A draw depends on the trial, not on which process makes it.
                self.study.sampler = _sampler(self.sampler, self.seed, trial.number)
                claimed = optuna.Trial(self.study, trial._trial_id)
                claimed.set_user_attr("place", f"{socket.gethostname()}:{self.folder}")
                return claimed
            # A process of another folder was quicker.
            self._lock_of(trial.number).unlink()
            file.close()
        return None

    def _free_the_abandoned(self) -> None:
        """Lets the trials wait again whose process ended without a word."""
        for trial in self.study.get_trials(
            deepcopy=False, states=(TrialState.RUNNING,)
        ):
            path = self._lock_of(trial.number)
            if not path.exists():
                continue  # it runs in another folder
            with path.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                logging.info("trial %d was interrupted; it goes on", trial.number)
                self._set_state(trial, TrialState.WAITING)
                path.unlink()

    def _lock_of(self, number: int) -> Path:
        # Beside the trial's folder, in which a run would not begin if it held a file.
        return self.folder / f"trial{number}.lock"

    def _state(self, trial: optuna.Trial) -> TrialState:
        return self.storage.get_trial(trial._trial_id).state

    def _set_state(
        self, trial: optuna.Trial | optuna.trial.FrozenTrial, state: TrialState
    ) -> bool:
        """Whether it was free, where it is to run."""
        # A study has no words for handing a trial back, its storage has.
        try:
            return self.storage.set_trial_state_values(trial._trial_id, state)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False


def open_trials(
    folder: Path,
    facts: Mapping[str, Any],
    *,
    url: str,
    name: str,
    parameters: Sequence[Parameter],
    sampler: str,
    total: int | None,
    seed: int,
) -> Trials:
    """Opens the study, or makes it; a grid is queued whole.

    Args:
      folder: of the sweep, which exists.
      facts: what all who share the study must agree on, nested, of JSON values.
      url: of a database, as SQLAlchemy has it.

    Raises:
      ValueError: if the database cannot be opened, or the study is of other facts.
    """
    with (folder / LOCK).open("a") as file, contextlib.ExitStack() as held:
        fcntl.flock(file, fcntl.LOCK_EX)
        storage = _storage(url)
        held.callback(_close, storage)
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                direction="maximize",
            )
            new = True
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(storage=storage, study_name=name)
            # Nobody else makes it while this folder is locked: who began has gone.
            new = url == own_database(folder) and "facts" not in study.user_attrs
        if new and sampler == "grid":
            for values in itertools.islice(grid(parameters), len(study.trials), None):
                study.enqueue_trial(values)
        if new:
            study.set_user_attr("facts", dict(facts))  # last: the study is whole
        _check(study, facts)
        held.pop_all()
    return Trials(folder, study, storage, tuple(parameters), sampler, total, seed)


def own_database(folder: Path) -> str:
    """The URL of the SQLite file in a sweep's folder."""
    return f"sqlite:///{folder / 'study.db'}"


def _storage(url: str) -> optuna.storages.RDBStorage:
    # Several processes write to one file; the default is to give up after 5 s.
    patient = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=patient)
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"cannot open the study's database: {reason}; expected a URL such as "
            "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME, its driver installed"
        ) from error


def _close(storage: optuna.storages.RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def _check(study: optuna.Study, facts: Mapping[str, Any]) -> None:
    waited_s = 0
    while "facts" not in study.user_attrs:
        if waited_s >= MAKING_TIMEOUT_S:
            raise ValueError(
                f"the study {study.study_name!r} was never made whole; name another "
                "with --study, or another --workdir"
            )
        time.sleep(1)
        waited_s += 1
    found, wanted = workdir.bound(study.user_attrs["facts"]), workdir.bound(facts)
    if found != wanted:
        raise ValueError(
            f"the study {study.study_name!r} is of another sweep; "
            + workdir.difference(found, wanted, "the study", "this command")
            + "\nname another with --study"
        )


def _sampler(name: str, *seeds: int) -> optuna.samplers.BaseSampler:
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)  # of a grid, nothing is drawn
