"""Runs that score without training, and the trials of a sweep."""

import optuna

RATES = "optimizer.learning_rate=0.001:0.003:0.001"


def by_rate(config):
    """0.3, 0.5, 0.4 of the three rates."""
    return {1: 0.3, 2: 0.5, 3: 0.4}[round(config.optimizer.learning_rate * 1000)]


def results(value, *, folds=1):
    """Those of a run whose last step scores a tenth less."""
    interval = [value - 0.1, value + 0.1]
    ends = {
        which: {
            "accuracy": {
                "mean": score,
                "std": None if folds == 1 else 0.05,
                "interval": None if folds == 1 else interval,
            }
        }
        for which, score in (("best", value), ("last", value - 0.1))
    }
    run = {which: {"intervals": {"accuracy": interval}} for which in ends}
    return {
        "metric": "accuracy",
        "summary": ends,
        "runs": [{"fold": fold, "seed": 0} | run for fold in range(1, folds + 1)],
        "selected_on": "the clips evaluated on",
    }


class FakeRun:
    """Scores a run by a function of its config, without training; notes the runs."""

    def __init__(self, score, **options):
        self.score = score
        self.options = options
        self.seen = []

    def __call__(self, config, folder, *, observe_evaluation):
        self.seen.append(folder.name)
        folder.mkdir(exist_ok=True)
        return results(self.score(config), **self.options)


def trials_in(folder):
    """What the study of a sweep's folder holds."""
    url = f"sqlite:///{folder / 'study.db'}"
    storage = optuna.storages.RDBStorage(url)
    try:
        return optuna.load_study(study_name=folder.name, storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()
