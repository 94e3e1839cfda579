"""Our figures stand beside the published ones that they repeat, and no other."""

import itertools

import pytest

from aemjax.models import create, summarize
from aemjax.report import published
from aemjax.report.comparison import class_weights, comparison, repeats_something
from aemjax.report.runs import read_run
from aemjax.train.card import Card
from tests.aemjax.report import made

DRAWS = {"data__protocol": "draws", "data__grouped": False}
LLF_STUDY = {
    "dataset": "dcase2013",
    "init_from": "",
    "metrics": (),
    "metric": "accuracy",
    "model__name": "aemnet",
    "data__protocol": "kfold",
}


def ours(table, runs):
    """{label: names of the runs beside it}."""
    beside = comparison(table, runs)[0]
    rows = {}
    for row in beside.rows:
        labels = row[: len(table.labels)]
        rows.setdefault(labels, []).append(row[beside.run_column])
    return {label: names for label, names in rows.items() if names != [""]}


def test_a_run_stands_beside_its_own_row_with_its_own_figures(tmp_path):
    results = made.write_run(
        tmp_path / "run", folds=5, optimizer__lr_fraction=0.1, **DRAWS
    )
    run = read_run(tmp_path / "run")
    beside, full = comparison(published.TABLE8, [run])
    (row,) = [row for row in beside.rows if row[beside.run_column]]
    best = results["summary"]["best"]
    assert row[:6] == ("5 draws", "10 %", "0.678", "0.865", "0.772", "run")
    for cell, name in zip(row[6:], ("Se", "Sp", "AS"), strict=True):
        low, high = best[name]["interval"]
        assert cell.replace("\u00a0", " ") == (
            f"{best[name]['mean']:.4f} ± {best[name]['std']:.4f} "
            f"({low:.4f} to {high:.4f})"
        )
    assert [row[6] for row in full.rows] == ["Se", "Sp", "AS"]
    told = dict(zip(full.columns, full.rows[2], strict=True))
    assert told["split"] == "draws division" and told["seeds"] == "0"
    assert (
        told["clips trained on"] == "6,853 to 6,857" and told["evaluated"] == "41 to 45"
    )
    assert told["commit"] == "c0ffeec0ff+" and told["start"] == "pretrained, step 7"
    last = results["summary"]["last"]["AS"]["mean"]
    assert told["last epoch (95 %)"].startswith(f"{last:.4f}\u00a0±")


def test_shares_become_percent(tmp_path):
    results = made.write_run(tmp_path / "run", folds=5, **LLF_STUDY)
    beside, _ = comparison(published.TABLE5, [read_run(tmp_path / "run")])
    (row,) = [row for row in beside.rows if row[beside.run_column]]
    assert row[:7] == ("DCASE2013", "AemNet", "llf1", "67.00", "66.07", "30", "run")
    best = results["summary"]["best"]
    assert row[7].startswith(f"{100 * best['accuracy']['mean']:.2f}\u00a0±")
    assert row[8].startswith(f"{100 * best['F1']['mean']:.2f}\u00a0±")


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "esc10"},
        {"init_from": "runs/pretrained"},
        {"model__name": "aemresnet"},
        {"model__frontend": "log_mel"},
        {"model__width": 0.5},
        {"model__head": "aclnetx"},  # published with acnet
        {"data__protocol": "draws"},
        {"data__folds": 10},
        {"data__fold": 1},
        {"model__num_classes": 5},  # of a part of the set
        {"missing": 1},
    ],
)
def test_what_differs_in_one_thing_repeats_nothing(tmp_path, change):
    made.write_run(tmp_path / "same", folds=5, **LLF_STUDY)
    same = read_run(tmp_path / "same")
    assert ours(published.TABLE5, [same]) == {("DCASE2013", "AemNet", "llf1"): ["same"]}
    assert repeats_something(same)
    made.write_run(tmp_path / "other", folds=5, **(LLF_STUDY | change))
    other = read_run(tmp_path / "other")
    assert ours(published.TABLE5, [other]) == {}
    assert not repeats_something(other)
    assert len(comparison(published.TABLE5, [other])) == 1


@pytest.mark.parametrize(
    ("train", "evaluated", "whole"),
    [(1_800_000, 17_500, True), (700, 17_500, False), (1_800_000, 150, False)],
)
def test_most_of_audioset_is_as_whole_as_it_gets(tmp_path, train, evaluated, whole):
    made.write_pretraining(tmp_path / "run", train_clips=train, eval_clips=evaluated)
    found = ours(published.PRETRAINING, [read_run(tmp_path / "run")])
    assert bool(found) == whole


@pytest.mark.parametrize("fraction", [0.3, 0.1 * 3])
def test_the_share_of_the_rate_is_part_of_a_row(tmp_path, fraction):
    made.write_run(tmp_path / "run", optimizer__lr_fraction=fraction)
    found = ours(published.TABLE8, [read_run(tmp_path / "run")])
    assert found == {("official 60/40", "30 %"): ["run"]}


def test_scratch_is_no_share_of_the_rate(tmp_path):
    made.write_run(tmp_path / "run", optimizer__lr_fraction=1.0, init_from="")
    found = ours(published.TABLE8, [read_run(tmp_path / "run")])
    assert found == {("official 60/40", "no transfer"): ["run"]}


def test_two_runs_of_a_row_are_both_shown(tmp_path):
    for name in ("a", "b"):
        made.write_run(tmp_path / name)
    runs = [read_run(tmp_path / name) for name in ("a", "b")]
    assert ours(published.TABLE8, runs) == {("official 60/40", "60 %"): ["a", "b"]}


def test_nothing_of_ours_is_there_without_a_run():
    for table in published.TABLES:
        (beside,) = comparison(table, [])
        assert len(beside.rows) == len(table.rows)
        for row in beside.rows:
            assert set(row[beside.run_column :]) == {""}


def test_rows_have_a_figure_for_each_column():
    for table in published.TABLES:
        for row in table.rows:
            assert len(row.values) == len(table.columns)
            assert len(row.labels) == len(table.labels)
        wanted = [tuple(sorted(r.wants.items())) for r in table.rows if r.wants]
        assert len(set(wanted)) == len(wanted)  # one run is not beside two of them


def test_the_published_counts_are_those_of_our_models():
    """The wants of Table 4's rows build what it counts."""
    for row in published.TABLE4.rows:
        wants = row.wants
        model = create(
            wants["model.name"],
            num_classes=50,
            frontend=wants["model.frontend"],
            width=wants["model.width"],
        )
        assert summarize(model, n_samples=16_000).total_parameters == row.values[0]


def test_printed_scores_are_nearly_means():
    # A slip of the pen in Table 8 would show: its scores are means of Se and Sp.
    for row in published.TABLE8.rows:
        se, sp, score = row.values
        assert score == pytest.approx((se + sp) / 2, abs=0.0011)


def test_weights_of_one_loss_add_up():
    # One minus the share of each class: k classes add up to k - 1.
    for weights in published.CLASS_WEIGHTS:
        total = sum(weights.alpha.values())
        assert total == pytest.approx(len(weights.alpha) - 1, abs=0.01)


def test_class_weights_beside_those_of_a_run(tmp_path, monkeypatch):
    results = made.write_run(tmp_path / "run")
    run = read_run(tmp_path / "run")

    card = Card({}, 16_000, list(made.LABELS), False, "AS", "", {})
    monkeypatch.setitem(run.__dict__, "checkpoint", ({}, card, 6))
    table = class_weights(published.CLASS_WEIGHTS[0], [run])
    rows = results["runs"][0]["last"]["confusion"]
    clips = list(itertools.chain(*rows))
    assert table.columns == ("class", "alpha, published", "1 - share, run")
    assert table.rows[0] == (
        "normal",
        "0.4272",
        f"{1 - sum(rows[0]) / sum(clips):.4f}",
    )
    other = class_weights(published.CLASS_WEIGHTS[1], [run])
    assert other.columns == ("class", "alpha, published")
