"""What the divisions of a fine-tuning run say together."""

import numpy as np

from aemjax.train import metrics
from aemjax.train.intervals import fold_interval, over_folds


def summarize(runs: list[dict], which: str) -> dict[str, dict]:
    """Mean, standard deviation and 95 % interval of every metric, `over_folds`.

    The F1 of the mean precision and recall is beside the mean F1: they differ.
    """
    names = set.intersection(*(set(run[which]["metrics"]) for run in runs))
    folds = [run["fold"] for run in runs]
    summary = {
        name: spread(over_folds([run[which]["metrics"][name] for run in runs], folds))
        for name in sorted(names)
    }
    for kind in ("", "positive_"):
        if kind + "F1" in summary:
            means = (summary[kind + name]["mean"] for name in ("precision", "recall"))
            summary[kind + "F1"]["of_means"] = metrics.harmonic_mean(*means)
    return summary


def spread(numbers: list[int | float]) -> dict:
    """{"mean", "std", "interval"}: the sample deviation, and Student's t for 95 %."""
    return {
        "mean": float(np.mean(numbers)),
        "std": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
        "interval": fold_interval(numbers),
    }
