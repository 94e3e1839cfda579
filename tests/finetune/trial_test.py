import json
from pathlib import Path

import pytest

from aemjax.report.sweeps import parse_sweep
from finetune import sweep_report
from finetune.sweep import sweep
from finetune.train import train
from tests.finetune.fake_run import RATES, FakeRun, results
from tests.jobs import tiny_finetune


@pytest.fixture
def config(esc50):
    return tiny_finetune(esc50, "scratch").lock()


def table(content):
    sweep = parse_sweep(content, Path("sweep"))
    return sweep_report.table(sweep, waiting=content["waiting"])


def test_a_failed_trial_is_recorded_and_the_others_go_on(tmp_path, config):
    def score(config):
        if config.optimizer.learning_rate < 0.003:
            raise ValueError("the loss is nan at step 3")
        return 0.4

    content = sweep(config, tmp_path / "s", params=[RATES], run=FakeRun(score))
    states = [trial["state"] for trial in content["trials"]]
    assert states == ["failed", "failed", "complete"]
    assert content["trials"][0]["error"] == "the loss is nan at step 3"
    assert content["trials"][0]["value"] is None
    assert content["best"] == 2
    assert "trial 0 failed: the loss is nan at step 3" in table(content)
    with pytest.raises(ValueError, match="all 2 trials failed.* the loss is nan"):
        params = ["optimizer.learning_rate=0.001,0.002"]
        sweep(config, tmp_path / "all", params=params, run=FakeRun(score))


def curve(peak, *, until):
    """What a run that peaks in the middle of its four evaluations reports."""

    def run(config, folder, *, observe_evaluation):
        best = peak(config)
        for evaluation, share in enumerate((0.1, 0.5, 1.0, 0.9), start=1):
            observe_evaluation(0, evaluation, {"accuracy": best * share})
            until.append((folder.name, evaluation))
        return results(best)

    return run


def test_a_trial_below_the_median_is_stopped_after_the_warm_up(tmp_path, config):
    with config.unlocked():
        config.train.epochs = 4.0
    evaluations = []
    run = curve(lambda config: {1: 0.5, 2: 0.2, 3: 0.6}[config.seed], until=evaluations)
    options = {"params": ["seed=1,2,3"], "run": run}
    content = sweep(config, tmp_path / "s", prune=True, prune_after=1, **options)
    assert [t["state"] for t in content["trials"]] == ["complete", "pruned", "complete"]
    assert content["trials"][1]["value"] is None
    # The first of its four evaluations is free.
    assert [n for name, n in evaluations if name == "trial1"] == [1]
    content = sweep(config, tmp_path / "grid", **options)
    assert [t["state"] for t in content["trials"]] == ["complete"] * 3


@pytest.mark.slow
def test_a_real_trial_is_stopped_when_it_is_worse(tmp_path, config):
    with config.unlocked():
        config.train.epochs = 6.0
        config.augment.update(mixup_alpha=0.0, noise_probability=0.0)

    def run(config, folder, *, observe_evaluation):
        if folder.name == "trial1":
            return train(config, folder, observe_evaluation=observe_evaluation)
        for evaluation in range(1, 7):
            observe_evaluation(0, evaluation, {"accuracy": 1.1})
        return results(1.1)

    options = {"params": ["seed=1,2"], "prune": True, "prune_after": 1}
    content = sweep(config, tmp_path / "s", run=run, **options)
    assert [t["state"] for t in content["trials"]] == ["complete", "pruned"]
    lines = (tmp_path / "s/trial1/fold1_seed2/metrics.jsonl").read_text()
    steps = {json.loads(line)["step"] for line in lines.splitlines()}
    # The first of six evaluations is free: five steps each, the second is not written.
    assert 5 in steps
    assert max(steps) <= 10
    assert not (tmp_path / "s/trial1/results.json").exists()


def test_the_score_is_that_of_the_step_and_the_folds_asked_for(tmp_path, config):
    run = FakeRun(lambda config: 0.6, folds=5)
    params = ["seed=1"]
    content = sweep(config, tmp_path / "s", params=params, select="last", run=run)
    (trial,) = content["trials"]
    assert (trial["value"], trial["std"]) == (0.5, 0.05)
    assert trial["interval"] == [0.5, 0.7]  # of the folds
    assert "free of that choice" not in table(content)


def test_clips_for_validation_score_a_trial_where_there_are_any(tmp_path, config):
    def run(config, folder, *, observe_evaluation):
        found = results(0.9, folds=2)
        values = {1: (0.2, 0.4), 2: (0.3, 0.5)}[config.seed]
        found["runs"] = [
            run | {"best": run["best"] | {"validation": value}}
            for run, value in zip(found["runs"], values, strict=True)
        ]
        return found | {"selected_on": "a tenth, held out"}

    content = sweep(config, tmp_path / "s", params=["seed=1,2"], run=run)
    assert [t["value"] for t in content["trials"]] == pytest.approx([0.3, 0.4])
    assert content["trials"][0]["std"] == pytest.approx(0.1414214)
    assert content["best"] == 1
    assert "best: trial 1; chosen on a tenth, held out" in table(content)
