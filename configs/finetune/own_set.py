"""Fine-tunes on a set of your own; the other experiments change what they name.

    aemjax prepare manifest --source DIR --out prepared/own
    python -m finetune --config configs/finetune/own_set.py:pretrained \
        --config.data.path=prepared/own --config.init_from=PRETRAIN_RUN --workdir RUN
    python -m finetune --config configs/finetune/own_set.py:scratch \
        --config.data.path=prepared/own --workdir RUN

One GPU, or CPU cores for small sets; the hours are those of the set. The division is
five stratified folds with no group on both sides; `--config.data.protocol=official` for
folds of your own, `lists` with `data.train` and `data.eval` for splits of your own.
Nothing is published for it. The hyper-parameters are those of the published system
(Galindo-Meza 2021, chapters 4 to 7) where it gives them for most tasks, else our choice.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

VARIANTS = ("pretrained", "scratch")


def get_config(variant: str = "pretrained") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = ConfigDict()
    c.seed = 0
    # A pretraining run: its best step; "@last" or "@STEP" behind it for another.
    c.init_from = ""
    c.init_patterns = ("frontend/.*", "backbone/.*", "embedding/.*")
    c.model = ConfigDict(
        {
            "name": "aemresnet",
            "num_classes": 0,  # as many as the set has
            "frontend": "llf1",
            "width": 1.0,
            "head": placeholder(str),  # the published one
            "dropout": 0.2,
            "dtype": "float32",
        }
    )
    c.data = ConfigDict(
        {
            "path": "",
            "protocol": "kfold",  # official, kfold, draws or lists
            "folds": 5,  # of kfold, and how many draws
            "split_seed": 0,  # of folds and draws
            "grouped": True,  # no recording, patient or user on both sides of those
            "train": "",  # of lists: splits, as "a+b"
            "eval": "",
            "fold": 0,  # the one held out; 0: each in turn
            "crop_s": 1.5,
            "threads": 4,
        }
    )
    c.augment = ConfigDict(
        {
            "gain_db": 6.0,
            "noise_probability": 0.5,
            "min_snr_db": 10.0,
            "max_snr_db": 40.0,
            "mixup_alpha": 0.1,
            "mixup_start_fraction": 0.05,  # of the run
        }
    )
    c.optimizer = ConfigDict(
        {
            "name": "adam",
            "learning_rate": 1e-3,
            "weight_decay": 2e-4,
            # of the learning rate, for the embedder; 0: frozen
            "lr_fraction": 0.1 if variant == "pretrained" else 1.0,
        }
    )
    c.schedule = ConfigDict({"name": "cosine"})
    c.loss = ConfigDict({"name": "ce"})
    c.train = ConfigDict(
        {
            "batch_size": 64,
            "epochs": 350.0,
            "log_every_steps": 50,
            "ema_decay": 0.0,
        }
    )
    c.eval = ConfigDict(
        {
            "batch_size": 64,
            "every_epochs": 1.0,
            "resamples": 1000,  # of the bootstrap intervals at the end; 0: none
        }
    )
    c.checkpoint = ConfigDict(
        {"every_steps": 1000, "keep_latest": 1, "metric": "accuracy"}
    )
    return c
