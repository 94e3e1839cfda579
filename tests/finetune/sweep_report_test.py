import json

import matplotlib.image
import numpy as np
import pytest

from finetune import sweep_report

VALUES = {
    "optimizer.lr_fraction": [0.1, 0.5, 1.0, 0.1],
    "schedule.name": ["cosine", "constant", "cosine", "$no_math"],
    "model.dropout": [0.1, 0.3, 0.1, 0.5],
    "data.grouped": [True, False, False, True],
    "optimizer.learning_rate": [1e-5, 1e-4, 1e-2, 1e-3],
}


def content(fields, states=("complete",) * 4):
    scores = (0.4, 0.6, 0.5, 0.6)
    trials = [
        {
            "number": number,
            "parameters": {field: VALUES[field][number] for field in fields},
            "state": state,
            "value": score if state == "complete" else None,
            "std": None,
            "interval": [score - 0.1, score + 0.1] if number < 2 else None,
            "folder": f"trial{number}",
        }
        for number, (state, score) in enumerate(zip(states, scores, strict=True))
    ]
    return {
        "metric": "AS",
        "select": "best",
        "selected_on": None,
        "direction": "maximize",
        "parameters": list(fields),
        "trials": trials,
        "waiting": 0,
        "best": 1 if "complete" in states else None,
    }


@pytest.mark.parametrize(
    "fields",
    [
        ["optimizer.lr_fraction"],
        ["schedule.name"],
        ["optimizer.learning_rate"],
        ["optimizer.lr_fraction", "model.dropout"],
        ["schedule.name", "data.grouped"],
        list(VALUES),
    ],
)
def test_each_number_of_parameters_has_its_plot(tmp_path, fields):
    sweep_report.draw(tmp_path, content(fields))
    pixels = matplotlib.image.imread(tmp_path / "sweep.png")
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.png"]
    # It tells other scores from these.
    changed = content(fields)
    changed["trials"][0]["value"] = 0.55
    sweep_report.draw(tmp_path, changed)
    other = matplotlib.image.imread(tmp_path / "sweep.png")
    assert other.shape != pixels.shape or not np.array_equal(other, pixels)


def test_without_a_finished_trial_there_is_no_plot(tmp_path):
    sweep_report.draw(tmp_path, content(["model.dropout"], ("failed", "running") * 2))
    assert not list(tmp_path.iterdir())


def test_the_table_has_the_best_first_and_the_unfinished_last():
    found = content(
        ["optimizer.lr_fraction", "schedule.name"],
        ("complete", "complete", "pruned", "complete"),
    )
    found["waiting"] = 3
    rows = sweep_report.table(found).splitlines()
    assert [row.split()[0] for row in rows[1:5]] == ["1", "3", "0", "2"]
    assert (
        rows[1].split() == "1 0.5 constant 0.6000 - 0.5000 to 0.7000 complete".split()
    )
    assert rows[4].split() == "2 1 cosine - - - pruned".split()
    assert rows[5].startswith("best: trial 1;")
    assert rows[6].startswith("3 trials wait")
    assert len(rows) == 7


def test_what_is_written_is_read_back(tmp_path):
    found = content(["model.dropout"])
    sweep_report.write(tmp_path, found)
    assert json.loads((tmp_path / "sweep.json").read_text()) == found
