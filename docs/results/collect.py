"""Finished runs and sweeps -> the numbers that a page of docs/results stands on.

    python docs/results/collect.py RUN ... > docs/results/NAME.json

A sweep's trials are named SWEEP/trialN. Metrics are those of each run of a fold and seed,
in that order.
"""

import json
import sys
from pathlib import Path

from aemjax.train.workdir import read_results

METRICS = ("accuracy", "F1", "Se", "Sp", "AS", "HS", "log_loss", "precision", "recall")


def collect(folder: Path, name: str) -> dict:
    """What a folder's config.json and results.json say, shortened."""
    results = read_results(folder)
    about = json.loads((folder / "config.json").read_text())
    config, runs = about["config"], results["runs"]
    return {
        "run": name,
        "commit": about["commit"][:7],
        "dataset": results["dataset"],
        "split": results["split"],
        "init_from": Path(results["init_from"]).name or None,
        "selected_on": results["selected_on"],
        "model": "{name} {width:g}, {frontend}".format(**config["model"]),
        "lr_fraction": results["lr_fraction"],
        "loss": config["loss"],
        "epochs": config["train"]["epochs"],
        "crop_s": config["data"]["crop_s"],
        "batch_size": config["train"]["batch_size"],
        **{key: [run[key] for run in runs] for key in ("fold", "seed")},
        **{key: [run[key] for run in runs] for key in ("train_clips", "eval_clips")},
        **{which: _metrics(runs, which) for which in ("best", "last", "ema")},
    }


def _metrics(runs: list[dict], which: str) -> dict:
    known = [key for key in METRICS if key in runs[0].get(which, {}).get("metrics", {})]
    found = {
        key: [round(run[which]["metrics"][key], 6) for run in runs] for key in known
    }
    # Of one run the bootstrap's over its clips; of several the page says Student's t.
    intervals = runs[0].get(which, {}).get("intervals", {}) if len(runs) == 1 else {}
    return found | {
        f"{key} interval": [round(x, 6) for x in intervals[key]]
        for key in known
        if intervals.get(key)
    }


def main(folders: list[str]) -> None:
    rows = []
    for folder in map(Path, folders):
        if (folder / "results.json").exists():
            rows.append(collect(folder, folder.name))
            continue
        numbers = sorted(
            int(x.name[5:]) for x in folder.glob("trial[0-9]*") if x.is_dir()
        )
        for number in numbers:
            name = f"trial{number}"
            rows.append(collect(folder / name, f"{folder.name}/{name}"))
    print(json.dumps({"runs": rows}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
