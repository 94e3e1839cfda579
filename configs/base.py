"""The values that every experiment begins with: the published recipe's."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_base() -> ConfigDict:
    c = ConfigDict()
    c.seed = 0
    c.model = ConfigDict(
        {
            "name": "aemresnet",
            "num_classes": 0,  # of fine-tuning: 0 is as many as the set has
            "frontend": "llf1",
            "width": 1.0,
            "head": placeholder(str),  # the published one
            "dropout": 0.2,
            "dtype": "float32",  # or bfloat16, to compute in; parameters stay float32
            "numerics": "float",  # or int8: see config.quantize of fine-tuning
        }
    )
    c.data = ConfigDict(
        {
            "path": "",
            "train": "",  # splits, as "a+b"
            "eval": "",
            "crop_s": 10.0,
            "threads": 16,
            "sampling": "uniform",  # or balanced, by class
            "balance_offset": 100,  # a clip weighs the sum of 1000 / (offset + clips)
            "max_damaged": 100,  # records that a process replaces before it stops
        }
    )
    c.augment = ConfigDict(
        {
            "max_roll_s": 0.0,
            "polarity_probability": 0.0,
            "gain_db": 6.0,
            "noise_probability": 0.5,
            "min_snr_db": 10.0,
            "max_snr_db": 40.0,
            "mixup_alpha": 0.1,
            "mixup_start_fraction": 0.05,  # of the run
            "time_masks": 0,
            "time_mask_frames": 0,  # of 10 ms
            "channel_masks": 0,
            "channel_mask_channels": 0,
        }
    )
    c.optimizer = ConfigDict(
        {
            "name": "adam",  # or adamw, lamb
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "clip_norm": 0.0,  # of the gradient; 0: as it comes
        }
    )
    c.schedule = ConfigDict(
        {
            "name": "cosine",
            "warmup_fraction": 0.0,  # of the run
        }
    )
    c.loss = ConfigDict({"name": "bce", "label_smoothing": 0.0})
    c.train = ConfigDict(
        {
            "batch_size": 64,
            "epochs": 1.0,
            "microbatches": 1,  # parts of a batch, one after the other
            "remat": "none",  # or conv, block: activations computed twice, less memory
            "ema_decay": 0.0,  # of averaged weights; 0: none
            "log_every_steps": 100,
            "hang_timeout_s": 3600.0,  # ends a process that makes no step; 0: never
        }
    )
    c.eval = ConfigDict({"batch_size": 64, "every_epochs": 1.0})
    c.checkpoint = ConfigDict({"every_steps": 1000, "keep_latest": 1, "metric": "mAP"})
    return c
