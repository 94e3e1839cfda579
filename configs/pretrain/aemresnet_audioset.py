"""AemResNet on AudioSet from scratch: checkpoint #1 of the thesis.

    python -m pretrain --config configs/pretrain/aemresnet_audioset.py \
        --config.data.path=DIR --workdir RUN

Published: 11,744,143 parameters, mAP 0.3690 (Galindo-Meza 2021, chapter 4.5). Needs an
accelerator: a forward pass of 10 s is 1.8e10 multiply-accumulates, and 80 epochs are
163 million of them.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.seed = 0
    c.model = ConfigDict(
        {
            "name": "aemresnet",
            "num_classes": 527,
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
            "train": "unbalanced_train",
            "eval": "eval",
            "crop_s": 10.0,
            "threads": 16,
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
        {"name": "adam", "learning_rate": 5e-4, "weight_decay": 1e-8}
    )
    c.schedule = ConfigDict({"name": "cosine"})
    c.loss = ConfigDict({"name": "bce"})
    c.train = ConfigDict(
        {
            "batch_size": 512,
            "epochs": 80.0,
            "log_every_steps": 100,
            "ema_decay": 0.0,
        }
    )
    c.eval = ConfigDict({"batch_size": 512, "every_epochs": 1.0})
    c.checkpoint = ConfigDict({"every_steps": 1000, "keep_latest": 1, "metric": "mAP"})
    return c
