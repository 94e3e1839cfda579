import json
import os
import signal
import time

import pytest
from optuna.trial import TrialState

from aemjax.train.loop import Preempted
from finetune.sweep import sweep
from tests import jobs
from tests.finetune.fake_run import RATES, FakeRun, by_rate, trials_in
from tests.jobs import tiny_finetune


@pytest.fixture
def config(esc50):
    return tiny_finetune(esc50, "scratch").lock()


def test_a_grid_is_trained_point_by_point_and_written_down(tmp_path, config, capsys):
    run = FakeRun(by_rate)
    content = sweep(config, tmp_path / "sweep", params=[RATES], run=run)
    assert content == {
        "metric": "accuracy",
        "select": "best",
        "selected_on": "the clips evaluated on",
        "direction": "maximize",
        "parameters": ["optimizer.learning_rate"],
        "trials": [
            {
                "number": number,
                "parameters": {"optimizer.learning_rate": rate},
                "state": "complete",
                "value": value,
                "std": None,
                "interval": [value - 0.1, value + 0.1],  # of the clips: one division
                "folder": f"trial{number}",
            }
            for number, (rate, value) in enumerate(
                [(0.001, 0.3), (0.002, 0.5), (0.003, 0.4)]
            )
        ],
        "waiting": 0,
        "best": 1,
    }
    folder = tmp_path / "sweep"
    assert json.loads((folder / "sweep.json").read_text()) == content
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    rows = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert cells[0] == ["trial", "optimizer.learning_rate", "state", "accuracy (95 %)"]
    assert [(row[0], row[1], row[3].split()[0]) for row in cells[2:5]] == [
        ("1", "0.002", "0.5000"),
        ("2", "0.003", "0.4000"),
        ("0", "0.001", "0.3000"),
    ]
    assert "chosen on the clips evaluated on" in rows[-1]


def test_another_sweep_in_the_same_folder_is_refused(tmp_path, config):
    run = FakeRun(by_rate)
    sweep(config, tmp_path / "s", params=[RATES], run=run)
    run.seen.clear()
    with pytest.raises(ValueError, match="sweep/parameters/optimizer.learning_rate: 0"):
        params = [RATES.replace("0.003", "0.004")]
        sweep(config, tmp_path / "s", params=params, run=run)
    with config.unlocked():
        config.data.threads = 2  # free
        config.train.epochs = 7.0
    with pytest.raises(ValueError, match=r"1 entries differ:\n  train/epochs: 1.0 in"):
        sweep(config, tmp_path / "s", params=[RATES], run=run)
    assert run.seen == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"params": []}, "no --param"),
        ({"params": [RATES, RATES]}, "names a field twice"),
        ({"params": ["checkpoint.metric=F1"]}, "what trials are compared by"),
        ({"params": ["model.dropout=0.1:0.2"]}, "trials is None; sampler tpe needs"),
        ({"params": ["model.dropout=0.1:0.2"], "sampler": "grid"}, "has no steps"),
        ({"params": [RATES], "sampler": "sobol"}, "unknown sampler 'sobol'; known: g"),
        ({"params": [RATES], "trials": 2}, "a grid has as many as points"),
        ({"params": [RATES], "seed": -1}, "seed is -1, expected 0 or more"),
        ({"params": [RATES], "select": "mean"}, "unknown select 'mean'"),
        ({"params": [RATES], "storage": "nosql"}, "cannot open the study's database"),
        ({"params": [RATES], "storage": "sqlite:////no/x.db"}, "cannot open the study"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, config, options, message):
    run = FakeRun(by_rate)
    with pytest.raises(ValueError, match=message):
        sweep(config, tmp_path / "s", run=run, **options)
    assert run.seen == []


@pytest.mark.parametrize("lost", [False, True])
def test_sigterm_outside_a_training_loop_ends_the_sweep_too(tmp_path, config, lost):
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def run(config, folder, *, observe_evaluation):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except BaseException:  # as Python does in a destructor
            if not lost:
                raise
        seen.append("went on")
        observe_evaluation(0, 1, {"accuracy": 0.5})
        seen.append("trained on")

    with pytest.raises(Preempted, match="the same command goes on"):
        sweep(config, tmp_path / "s", params=[RATES], run=run)
    assert seen == ["went on"] * lost
    assert signal.getsignal(signal.SIGTERM) is before
    states = [trial.state for trial in trials_in(tmp_path / "s")]
    assert states == [TrialState.WAITING] * 3


def test_sigterm_to_the_command(tmp_path, esc50):
    folder = tmp_path / "s"
    process = jobs.start(
        "finetune.sweep",
        "configs/finetune/esc50.py:scratch",
        folder,
        jobs.overrides(tiny_finetune(esc50, "scratch")),
        flags=("--param=optimizer.lr_fraction=1.0",),
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if "trial 0: optimizer.lr_fraction=1.0 in" in line:
            break
    process.send_signal(signal.SIGTERM)
    ((code, output),) = jobs.finish([process])
    assert code == 75, "".join(said) + output
    (left,) = trials_in(folder)
    assert left.state is TrialState.WAITING


def test_runs_side_by_side_stop_no_trial(tmp_path, config):
    config = config.copy_and_resolve_references().unlock()
    config.train.runs_at_once = 2
    params = ["optimizer.learning_rate=0.001:0.01"]
    with pytest.raises(ValueError, match="runs_at_once is 2: .* add --noprune"):
        sweep(config, tmp_path / "s", params=params, trials=2)
    assert not (tmp_path / "s").exists()
