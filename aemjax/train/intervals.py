"""95 % intervals: of one evaluation by the bootstrap, of a mean over folds by Student's t."""

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Shaped
from scipy import stats

LEVEL = 0.95
# The share of resamples that may leave a metric undefined before it gets no interval.
MAX_UNDEFINED = 0.05


def check_resamples(resamples: int) -> None:
    """Refuses a number that leaves the interval without tails.

    Raises:
      ValueError: naming the least.
    """
    at_least = round(2 / (1 - LEVEL))
    if resamples < at_least:
        raise ValueError(
            f"resamples is {resamples}; a 95 % interval needs at least {at_least}, "
            "better 1000"
        )


def bootstrap(
    statistic: Callable[[np.ndarray], Mapping[str, int | float]],
    groups: Shaped[np.ndarray, "n"],
    *,
    resamples: int,
    seed: int = 0,
) -> dict[str, list[float] | None]:
    """Percentile intervals of all metrics at once (Efron & Tibshirani 1993, ch. 13).

    Whole groups are drawn with replacement, as many as there are, because the clips of
    one patient or recording are not independent; `statistic` sees every clip of a group
    as often as the group is drawn. Macro means of a resample are over the classes in
    it. A metric that a resample leaves undefined (it holds no clip of a class that the
    metric needs) has its percentiles among the other resamples; if more than 5 % leave
    it undefined it gets no interval, None.

    Args:
      statistic: indices of clips, with repetitions -> metrics; those undefined are not
        in it.
      groups: name of each clip's group; all different where clips are independent.
      resamples: how many; a thousand or more for a published figure.

    Returns:
      {metric: [low, high]} of the metrics that `statistic` has of all clips; None for
      each of them if all clips are of one group.

    Raises:
      ValueError: with too few resamples.
    """
    check_resamples(resamples)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    names = list(statistic(np.arange(len(groups))))
    if len(sizes) < 2:  # not an error: a run of hours may end here
        return dict.fromkeys(names)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])

    def values(drawn: np.ndarray) -> np.ndarray:
        found = statistic(np.concatenate([members[i] for i in drawn]))
        return np.array([found.get(name, np.nan) for name in names])

    with warnings.catch_warnings():
        # SciPy's own percentiles know nothing of undefined values; ours do.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (np.arange(len(members)),),
            values,
            n_resamples=resamples,
            batch=100,  # indices in memory at a time
            vectorized=False,
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    return {name: _percentiles(row) for name, row in zip(names, drawn, strict=True)}


def _percentiles(values: np.ndarray) -> list[float] | None:
    defined = values[~np.isnan(values)]
    if len(defined) < (1 - MAX_UNDEFINED) * len(values):
        return None
    return np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()


def over_folds(
    values: Sequence[int | float], folds: Sequence[int]
) -> list[int | float]:
    """What a deviation and an interval are of: of one fold, the values of its seeds.

    Of several folds the mean over seeds of each: seeds say nothing of other clips.

    Args:
      folds: of each value.
    """
    if len(set(folds)) == 1:
        return list(values)
    return [
        float(np.mean([v for v, of in zip(values, folds, strict=True) if of == fold]))
        for fold in dict.fromkeys(folds)
    ]


def fold_interval(values: Sequence[int | float]) -> tuple[float, float] | None:
    """Student's t interval of a mean over folds; None for one fold.

    It takes the folds for independent, which their shared training clips are not
    (Bengio & Grandvalet, JMLR 2004): read it as a lower bound of the doubt.

    Raises:
      ValueError: if there is no value.
    """
    if not values:
        raise ValueError("no folds, so no interval; expected at least one value")
    if len(values) == 1:
        return None
    # Not t.interval, which has none where all folds are equal.
    half = stats.t.ppf((1 + LEVEL) / 2, df=len(values) - 1) * stats.sem(values)
    mean = np.mean(values)
    return float(mean - half), float(mean + half)
