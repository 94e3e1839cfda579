"""What a config's numbers may be; looked at before anything is read or made."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from aemjax.train.intervals import check_resamples

Fits = tuple[str, Callable[[int | float], bool]]

MORE_THAN_0: Fits = ("more than 0", lambda x: x > 0)
AT_LEAST_0: Fits = ("0 or more", lambda x: x >= 0)
AT_LEAST_1: Fits = ("1 or more", lambda x: x >= 1)
SHARE: Fits = ("from 0 to 1: a share, not a percentage", lambda x: 0 <= x <= 1)

# Whatever is not here is checked where it is used, before a run's folder is made.
LIMITS: Mapping[str, Fits] = {
    "data.crop_s": MORE_THAN_0,
    "data.threads": AT_LEAST_1,
    "data.max_damaged": AT_LEAST_0,
    "augment.mixup_start_fraction": SHARE,
    "optimizer.learning_rate": AT_LEAST_0,
    "optimizer.weight_decay": AT_LEAST_0,
    "optimizer.lr_fraction": SHARE,
    "train.epochs": MORE_THAN_0,
    "train.log_every_steps": AT_LEAST_1,
    "train.hang_timeout_s": AT_LEAST_0,
    "eval.every_epochs": MORE_THAN_0,
    "checkpoint.every_steps": AT_LEAST_1,
    "checkpoint.keep_latest": AT_LEAST_1,
}


def check(config: ConfigDict) -> None:
    """Refuses numbers that no training makes sense with.

    Raises:
      ValueError: naming the field, its value and what was expected.
    """
    for field, (expected, fits) in LIMITS.items():
        section, name = field.split(".")
        if name in config[section] and not fits(value := config[section][name]):
            raise ValueError(f"{field} is {value}, expected {expected}")
    if resamples := config.eval.get("resamples", 0):
        check_resamples(resamples)
