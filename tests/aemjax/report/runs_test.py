"""Runs and sweeps are read as they were written; what is none is refused."""

import json

import numpy as np
import pytest

from aemjax.report.inputs import read_folders
from aemjax.report.runs import read_run
from aemjax.report.tables import runs_table
from tests.aemjax.report import made


def test_figures_are_those_of_the_results(tmp_path):
    results = made.write_run(tmp_path / "run", folds=3, entries=("best", "last", "ema"))
    run = read_run(tmp_path / "run")
    for entry in ("best", "last"):
        assert run.metric_names(entry) == sorted(
            {*results["summary"][entry]} - {"clips"}
        )
        for name in run.metric_names(entry):
            summary = results["summary"][entry][name]
            found = run.spread(entry, name)
            assert found.mean == pytest.approx(summary["mean"], abs=1e-12)
            assert found.std == pytest.approx(summary["std"], abs=1e-12)
            assert found.interval == pytest.approx(summary["interval"], abs=1e-12)
    averaged = [fold["ema"]["metrics"]["AS"] for fold in results["runs"]]
    assert run.spread("ema", "AS").mean == pytest.approx(np.mean(averaged))
    assert run.entries == ("best", "last", "ema")
    confusion = np.sum([fold["last"]["confusion"] for fold in results["runs"]], axis=0)
    np.testing.assert_array_equal(run.confusion("last"), confusion)
    assert run.spread("last", "mAP") is None


def test_a_run_that_another_commit_ended_names_both(tmp_path):
    results = made.write_run(tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.commits == [run.commit]
    (tmp_path / "run/results.json").write_text(json.dumps(results | {"commit": "b"}))
    run = read_run(tmp_path / "run")
    assert run.commits == [run.commit, "b"]
    assert runs_table([(run, "AS")]).rows[0][-1] == "c0ffeec0ff+, then b"


@pytest.mark.parametrize("folds", [1, 3])
def test_several_seeds_are_named_and_spread_like_the_results(tmp_path, folds):
    results = made.write_run(tmp_path / "run", folds=folds, seeds=2)
    run = read_run(tmp_path / "run")
    assert run.seeds == [0, 1]
    assert len(run.folders) == 2 * folds
    assert run.folders["fold 1, seed 1"] == tmp_path / "run" / "fold1_seed1"
    found, summary = run.spread("last", "AS"), results["summary"]["last"]["AS"]
    assert (found.mean, found.std) == pytest.approx((summary["mean"], summary["std"]))
    assert found.interval == pytest.approx(summary["interval"])


def test_one_fold_has_the_bootstraps_interval(tmp_path):
    results = made.write_run(tmp_path / "run")
    found = read_run(tmp_path / "run").spread("best", "AS")
    (fold,) = results["runs"]
    assert found.mean == fold["best"]["metrics"]["AS"]
    assert found.std is None
    assert found.interval == tuple(fold["best"]["intervals"]["AS"])


@pytest.mark.parametrize("stored", ["beside", "entry", "none"])
def test_averaged_weights_wherever_they_are_scored(tmp_path, stored):
    results = made.write_run(
        tmp_path, folds=2, entries=("best", "last") + ("ema",) * (stored == "entry")
    )
    if stored == "beside":
        for number, fold in enumerate(results["runs"]):
            fold["last"]["metrics"]["ema_AS"] = 0.5 + 0.1 * number
        (tmp_path / "results.json").write_text(json.dumps(results))
    run = read_run(tmp_path)
    found = run.spread("ema", "AS")
    if stored == "none":
        assert found is None and run.entries == ("best", "last")
        return
    assert run.entries == ("best", "last", "ema")
    if stored == "beside":
        assert found.mean == pytest.approx(0.55)
        assert "ema_AS" not in run.metric_names("last")
    else:
        values = [fold["ema"]["metrics"]["AS"] for fold in results["runs"]]
        assert found.mean == pytest.approx(np.mean(values))


def test_a_run_selected_by_averaged_weights_is_scored_by_them(tmp_path):
    results = made.write_run(tmp_path, checkpoint__metric="ema_AS")
    run = read_run(tmp_path)
    assert run.metric == "AS" and run.of_averaged
    plain = results["runs"][0]["best"]["metrics"]["AS"]
    assert run.selected("best", "AS").mean == plain  # scored by them, without a prefix
    results["runs"][0]["best"]["metrics"]["ema_AS"] = 0.123
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert read_run(tmp_path).selected("best", "AS").mean == 0.123


def test_curves_are_the_lines_that_were_written(tmp_path):
    made.write_run(tmp_path / "run", folds=2)
    run = read_run(tmp_path / "run")
    assert run.curves("train/loss") == {
        "fold 1": ([2, 4, 6], [1.0, 0.5, 2 / 6]),
        "fold 2": ([2, 4, 6], [1.0, 0.5, 2 / 6]),
    }
    assert run.curves("eval/accuracy") == {}


def test_names_tell_runs_apart(tmp_path):
    folders = [tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "c"]
    for folder in folders:
        made.write_run(folder)
    runs, sweeps = read_folders(folders)
    assert [run.name for run in runs] == ["a/run", "b/run", "c"]
    assert sweeps == []
    with pytest.raises(ValueError, match="c is named twice"):
        read_folders([tmp_path / "c", f"{tmp_path}/c/"])


def test_a_sweep(tmp_path):
    made.write_run(tmp_path / "sweep" / "trial0")
    trials = [
        {"parameters": {"a.b": 0.1}, "value": 0.5, "folder": "trial0"},
        {"parameters": {"a.b": 0.2}, "value": 0.7, "interval": [0.6, 0.8]},
        {"parameters": {"a.b": 0.3}, "value": 0.9, "state": "pruned"},
        {"parameters": {"a.b": 0.4}, "value": None, "state": "failed"},
    ]
    made.write_sweep(tmp_path / "sweep", trials, parameters=["a.b"])
    runs, (sweep,) = read_folders([tmp_path / "sweep"])
    assert runs == []
    assert sweep.best.number == 1 and sweep.best.interval == (0.6, 0.8)
    assert [trial.number for trial in sweep.complete] == [0, 1]
    assert sweep.facts["dataset"] == "icbhi2017"
    made.write_sweep(
        tmp_path / "down", trials, parameters=["a.b"], direction="minimize"
    )
    _, (down,) = read_folders([tmp_path / "down"])
    assert down.best.number == 0


def unfinished(folder):
    made.write_run(folder)
    (folder / "results.json").unlink()


def foreign(folder):
    made.write_run(folder)
    (folder / "results.json").write_text('{"other": 1}')


def copied(folder):
    made.write_run(folder)
    (folder / "config.json").unlink()


def running(folder):
    trial = {"parameters": {}, "value": None, "state": "running"}
    made.write_sweep(folder, [trial], parameters=[])


def odd_state(folder):
    trial = {"parameters": {}, "value": None, "state": "asleep"}
    made.write_sweep(folder, [trial], parameters=[])


def cut_short(folder):
    folder.mkdir()
    (folder / "sweep.json").write_text('{"metric": "AS", "tri')


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "folder has no results.json; is the run finished"),
        (unfinished, "folder has no results.json; is the run finished"),
        (foreign, "holds the results of neither job; expected a folder of"),
        (copied, "has results and no config.json; give a run's own folder"),
        (running, "is a sweep with trials that still run; wait for it"),
        (odd_state, r"unknown trial states \['asleep'\]; known: "),
        (cut_short, "sweep.json is damaged .*; run the sweep's command again"),
    ],
)
def test_what_is_no_finished_run_is_refused(tmp_path, make, message):
    make(tmp_path / "folder")
    with pytest.raises(ValueError, match=message):
        read_folders([tmp_path / "folder"])
