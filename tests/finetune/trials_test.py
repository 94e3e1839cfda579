import json
import signal
import subprocess
import sys
import threading

import optuna
import pytest
from optuna.trial import TrialState

from aemjax.train.loop import Preempted
from finetune.sweep import sweep
from tests import jobs
from tests.finetune.fake_run import RATES, FakeRun, by_rate, results, trials_in
from tests.jobs import tiny_finetune


@pytest.fixture
def config(esc50):
    return tiny_finetune(esc50, "scratch").lock()


def test_finished_trials_are_not_run_again_and_an_interrupted_one_is(tmp_path, config):
    def interrupted(config):
        if config.optimizer.learning_rate == 0.002:
            raise Preempted("saved")
        return by_rate(config)

    first = FakeRun(interrupted)
    with pytest.raises(Preempted):
        sweep(config, tmp_path / "s", params=[RATES], run=first)
    assert first.seen == ["trial0", "trial1"]
    half = json.loads((tmp_path / "s/sweep.json").read_text())
    assert ([t["number"] for t in half["trials"]], half["waiting"]) == ([0], 2)
    second = FakeRun(by_rate)
    content = sweep(config, tmp_path / "s", params=[RATES], run=second)
    assert second.seen == ["trial1", "trial2"]
    assert [trial["value"] for trial in content["trials"]] == [0.3, 0.5, 0.4]
    third = FakeRun(by_rate)
    assert sweep(config, tmp_path / "s", params=[RATES], run=third) == content
    assert third.seen == []
    assert not list((tmp_path / "s").glob("*.lock"))


def test_a_grid_whose_making_was_interrupted_is_made_whole(
    tmp_path, config, monkeypatch
):
    enqueue = optuna.Study.enqueue_trial

    def second_fails(study, values):
        if study.trials:
            raise KeyboardInterrupt
        enqueue(study, values)

    run = FakeRun(by_rate)
    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "enqueue_trial", second_fails)
        with pytest.raises(KeyboardInterrupt):
            sweep(config, tmp_path / "s", params=[RATES], run=run)
    content = sweep(config, tmp_path / "s", params=[RATES], run=run)
    assert run.seen == ["trial0", "trial1", "trial2"]
    assert [trial["value"] for trial in content["trials"]] == [0.3, 0.5, 0.4]


KILLED = """
import os, sys
from pathlib import Path
from absl import flags
flags.FLAGS.mark_as_parsed()
from finetune.sweep import sweep
from tests.jobs import tiny_finetune

def run(config, folder, *, observe_evaluation):
    observe_evaluation(0, 1, {"accuracy": 0.25})
    os.kill(os.getpid(), 9)

config = tiny_finetune(Path(sys.argv[1]), "scratch").lock()
sweep(config, sys.argv[2], params=[sys.argv[3]], sampler="random", trials=2, run=run)
"""


def test_a_trial_whose_process_was_killed_goes_on_with_its_values(
    tmp_path, config, esc50
):
    folder = tmp_path / "s"
    drawn = "optimizer.learning_rate=0.001:0.003"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(esc50), str(folder), drawn], cwd=jobs.ROOT
    )
    assert killed.returncode == -signal.SIGKILL
    (left,) = trials_in(folder)
    assert left.state is TrialState.RUNNING
    seen = []

    def run(config, folder, *, observe_evaluation):
        seen.append((folder.name, config.optimizer.learning_rate))
        observe_evaluation(0, 1, {"accuracy": 0.25})  # evaluated, then killed unsaved
        return results(0.5)

    sweep(config, folder, params=[drawn], sampler="random", trials=2, run=run)
    assert [name for name, _ in seen] == ["trial0", "trial1"]
    assert seen[0][1] == left.params["optimizer.learning_rate"] != seen[1][1]


def test_parallel_workers_share_the_trials(tmp_path, config):
    both = threading.Barrier(2, timeout=60)
    seen, contents = [], []

    def run(config, folder, *, observe_evaluation):
        seen.append((threading.get_ident(), folder.name))
        if len(seen) <= 2:
            both.wait()  # neither goes on before the other has a trial of its own
        return results(by_rate(config))

    def work():
        contents.append(sweep(config, tmp_path / "s", params=[RATES], run=run))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({worker for worker, _ in seen[:2]}) == 2
    assert sorted(name for _, name in seen) == ["trial0", "trial1", "trial2"]
    states = [[t["state"] for t in c["trials"]] for c in contents]
    assert ["complete"] * 3 in states


def test_folders_on_one_database_share_the_trials(tmp_path, config):
    options = {"params": [RATES], "storage": f"sqlite:///{tmp_path}/all.db"}
    options["study"] = "rates"
    one = FakeRun(by_rate)

    def other_first(config):
        if not other.seen:  # a second machine comes while the first trial is trained
            sweep(config_of_all, tmp_path / "b", run=other, **options)
        return by_rate(config)

    config_of_all, other = config, FakeRun(by_rate)
    one.score = other_first
    content = sweep(config, tmp_path / "a", run=one, **options)
    assert (one.seen, other.seen) == (["trial0"], ["trial1", "trial2"])
    assert [trial["state"] for trial in content["trials"]] == ["complete"] * 3
    here, there, _ = (trial["folder"] for trial in content["trials"])
    assert here == "trial0"
    assert there.endswith(f":{tmp_path / 'b'}/trial1")
    with config.unlocked():
        config.seed = 1
    with pytest.raises(ValueError, match="'rates' is of another.*\n.*seed: 0 in the s"):
        sweep(config, tmp_path / "c", run=one, **options)


def test_two_folders_that_ask_at_once_train_no_more_than_are_wanted(
    tmp_path, config, monkeypatch
):
    enqueue = optuna.Study.enqueue_trial

    def twice(self, *args, **kwargs):  # as if another counted before this was there
        enqueue(self, *args, **kwargs)
        enqueue(self, *args, **kwargs)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", twice)
    run = FakeRun(by_rate)
    drawn = ["optimizer.learning_rate=0.001:0.003"]
    content = sweep(config, tmp_path / "s", params=drawn, trials=3, run=run)
    assert run.seen == ["trial0", "trial1", "trial2"]
    assert content["waiting"] == 0


def test_what_cannot_be_written_is_no_failed_trial(tmp_path, config):
    def full(config):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        sweep(config, tmp_path / "s", params=[RATES], run=FakeRun(full))
    run = FakeRun(by_rate)
    sweep(config, tmp_path / "s", params=[RATES], run=run)
    assert run.seen == ["trial0", "trial1", "trial2"]


def test_what_is_drawn_depends_on_seed_and_scores_not_on_interruptions(
    tmp_path, config
):
    def draws(name, counts, *, seed=3, sign=1):
        seen = []

        def score(config):
            seen.append(config.optimizer.learning_rate)
            return sign * seen[-1]

        for total in counts:
            sweep(
                config,
                tmp_path / name,
                params=["optimizer.learning_rate=1e-4:1e-1:log"],
                sampler="tpe",
                trials=total,
                seed=seed,
                run=FakeRun(score),
            )
        return seen

    unbroken = draws("unbroken", [11])
    assert len(set(unbroken)) == 11
    assert draws("seed", [1], seed=4)[0] not in unbroken
    # The first ten of tpe are blind; from then on it matters what scored well.
    reversed_ = draws("interrupted", [1, 11], sign=-1)
    assert reversed_[:10] == unbroken[:10]
    assert reversed_[10] != unbroken[10]
