"""Folders of runs and sweeps with numbers that are made up."""

import json

import numpy as np

from aemjax.data.catalog import DATASETS
from aemjax.train.metrics import confusion_matrix, single_label_metrics
from finetune.summary import summarize

LABELS = ("normal", "crackles", "wheezes", "both")


def entry(rng, *, k=4, clips=40, step=6, metrics=()):
    """An evaluation of random guesses that lean to the truth."""
    truth = np.arange(clips) % k
    labels = np.eye(k, dtype=np.float32)[truth]
    logits = (rng.normal(size=(clips, k)) + labels).astype(np.float32)
    scored = single_label_metrics(logits, labels) | {
        name: float(rng.uniform(0.3, 0.9)) for name in metrics
    }
    return {
        "step": step,
        "metrics": scored,
        "intervals": {name: [v - 0.1, v + 0.1] for name, v in scored.items()},
        "confusion": confusion_matrix(logits, labels),
    }


def config(**changes):
    """The parts of a config that a report reads; changes are {"section__field": value}."""
    made = {
        "seed": 0,
        "model": {
            "name": "aemresnet",
            "frontend": "llf1",
            "width": 1.0,
            "num_classes": 4,
            "head": None,
        },
        "data": {
            "path": "nowhere",
            "protocol": "official",
            "folds": 5,
            "split_seed": 0,
            "grouped": True,
            "fold": 0,
            "train": "",
            "eval": "",
        },
        "optimizer": {"lr_fraction": 0.6},
        "checkpoint": {"metric": "AS"},
        "data_fingerprint": "0",
    }
    for name, value in changes.items():
        section, field = name.split("__")
        made[section][field] = value
    return made


def write_run(
    folder,
    *,
    dataset="icbhi2017",
    folds=1,
    seeds=1,
    seed=0,
    k=4,
    metric="AS",
    metrics=("Se", "Sp", "AS", "HS"),
    init_from="runs/pretrained",
    entries=("best", "last"),
    missing=0,
    **changes,
):
    """A fine-tuning run without checkpoints; returns its results.

    Args:
      missing: clips that its set lacks.
    """
    rng = np.random.default_rng(seed)
    about = config(**{"model__num_classes": DATASETS[dataset].classes} | changes)
    whole = sum(DATASETS[dataset].published_clips.values()) or 140
    fraction = about["optimizer"]["lr_fraction"]
    runs = [
        {
            "fold": fold,
            "seed": own_seed,
            "train_clips": whole - 40 - missing - fold,
            "eval_clips": 40 + fold,
            "shared_groups": 0,
            **{name: entry(rng, k=k, metrics=metrics) for name in entries},
        }
        for own_seed in range(seeds)
        for fold in range(1, folds + 1)
    ]
    results = {
        "dataset": dataset,
        "split": f"{about['data']['protocol']} division",
        "init_from": init_from,
        "init_step": 7 if init_from else None,
        "lr_fraction": fraction,
        "selected_on": "the clips evaluated on",
        "metric": metric,
        "runs": runs,
        "summary": {which: summarize(runs, which) for which in ("best", "last")},
    }
    for run in runs:
        fold = folder / f"fold{run['fold']}_seed{run['seed']}"
        fold.mkdir(parents=True)
        lines = [
            {"step": step, "train/loss": 2 / step, f"eval/{metric}": step / 10}
            for step in (2, 4, 6)
        ]
        (fold / "metrics.jsonl").write_text(
            "".join(json.dumps(x) + "\n" for x in lines)
        )
    made_by = {"commit": "c0ffee" * 6 + "+", "versions": {"aemjax": "0.1.0"}}
    _write(folder, "config.json", {"config": about, **made_by})
    _write(folder, "results.json", results)
    return results


def write_pretraining(folder, *, train_clips, eval_clips):
    """Checkpoint #1's run without checkpoints."""
    folder.mkdir()
    about = config(
        model__num_classes=527,
        data__train="unbalanced_train",
        data__eval="eval",
        checkpoint__metric="mAP",
    )
    last = {"mAP": 0.05, "clips": eval_clips}
    results = {
        "dataset": "audioset",
        "split": "official unbalanced_train -> eval",
        "steps": 7,
        "train_clips": train_clips,
        "last": last,
        "best_step": 7,
        "best": last,
    }
    made_by = {"commit": "c0ffee" * 6, "versions": {"aemjax": "0.1.0"}}
    _write(folder, "config.json", {"config": about, **made_by})
    _write(folder, "results.json", results)


def write_sweep(folder, trials, *, parameters, metric="AS", **changes):
    """A sweep of {"parameters", "value", ...}; what a trial leaves out is filled in."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "metric": metric,
        "direction": "maximize",
        "parameters": parameters,
        "trials": [
            {"number": n, "state": "complete", "interval": None} | trial
            for n, trial in enumerate(trials)
        ],
    }
    _write(folder, "sweep.json", about | changes)


def _write(folder, name, value):
    (folder / name).write_text(json.dumps(value))
