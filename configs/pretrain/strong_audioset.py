"""AemResNet on AudioSet by our strongest recipe, beyond the published one.

    python -m pretrain --config configs/pretrain/strong_audioset.py:unbalanced \
        --config.data.path=DIR --workdir RUN

Class-balanced draws, stronger mixup, masks, roll and polarity, AdamW with a warm-up and
clipping, averaged weights, bfloat16: what published AudioSet recipes agree on (PANNs,
PaSST, EfficientAT). 20k trains on the balanced 22,160 clips alone, longer. Its mAP on
AudioSet has not been measured; docs/recipes.md has what was, on smaller sets. Needs an
accelerator.
"""

from ml_collections import ConfigDict

from configs.pretrain import aemresnet_audioset

VARIANTS = ("unbalanced", "20k")


def get_config(variant: str = "unbalanced") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = aemresnet_audioset.get_config()
    c.model.dtype = "bfloat16"
    c.augment.update(
        max_roll_s=1.0,
        polarity_probability=0.5,
        mixup_alpha=0.3,
        mixup_start_fraction=0.0,
        time_masks=2,
        time_mask_frames=96,
        channel_masks=2,
        channel_mask_channels=16,
    )
    c.optimizer.update(
        name="adamw", learning_rate=1e-3, weight_decay=1e-2, clip_norm=1.0
    )
    c.schedule.warmup_fraction = 0.05
    c.train.ema_decay = 0.9995
    c.checkpoint.metric = "ema_mAP"
    if variant == "20k":
        c.data.train = "balanced_train"
        c.train.update(batch_size=128, epochs=150.0)
        c.eval.every_epochs = 5.0
    else:
        c.data.update(train="unbalanced_train+balanced_train", sampling="balanced")
        c.train.epochs = 60.0
    return c
