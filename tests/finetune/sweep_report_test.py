import json

from aemjax.report.sweeps import parse_sweep
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


def test_the_table_has_the_best_first_and_the_unfinished_last(tmp_path):
    found = content(
        ["optimizer.lr_fraction", "schedule.name"],
        ("complete", "complete", "pruned", "complete"),
    )
    found["waiting"] = 3
    sweep = parse_sweep(found, tmp_path)
    rows = sweep_report.table(sweep, waiting=found["waiting"]).splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert [row[0] for row in cells[2:6]] == ["1", "3", "0", "2"]
    score = "0.6000 (0.5000 to 0.7000)"
    cells[2][-1] = " ".join(cells[2][-1].split())  # they do not break
    assert cells[2] == ["1", "0.5", "constant", "complete", score]
    assert cells[5] == ["2", "1", "cosine", "pruned", ""]
    assert rows[6].startswith("best: trial 1;")
    assert rows[7].startswith("3 trials wait")
    assert len(rows) == 8


def test_what_is_written_is_read_back(tmp_path):
    found = content(["model.dropout"])
    sweep_report.write(tmp_path, found)
    assert json.loads((tmp_path / "sweep.json").read_text()) == found
