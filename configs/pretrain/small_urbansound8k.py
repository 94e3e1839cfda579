"""UrbanSound8K at a size that a CPU core trains in minutes: what docs/results start from.

    python -m pretrain --config configs/pretrain/small_urbansound8k.py:aemnet \
        --config.data.path=DIR --workdir RUN

Variants are the three models. Nothing is published for it.
"""

from ml_collections import ConfigDict

from configs.pretrain import aemnet_dw_urbansound8k

VARIANTS = ("aemnet", "aemnet_dw", "aemresnet")


def get_config(variant: str = "aemnet") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = aemnet_dw_urbansound8k.get_config()
    c.model.update(name=variant, frontend="llf1", width=0.25)
    c.data.threads = 1
    c.train.epochs = 15.0
    c.eval.every_epochs = 5.0
    return c
