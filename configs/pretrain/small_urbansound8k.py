"""UrbanSound8K at a size that a CPU core trains in minutes: what docs/results start from.

    python -m pretrain --config configs/pretrain/small_urbansound8k.py:aemnet_dw \
        --config.data.path=DIR --workdir RUN

Variants are the three models. Nothing is published for it.
"""

from ml_collections import ConfigDict

from configs.finetune import small
from configs.pretrain import aemnet_dw_urbansound8k

VARIANTS = ("aemnet", "aemnet_dw", "aemresnet")


def get_config(variant: str = "aemnet_dw") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = aemnet_dw_urbansound8k.get_config()
    c.model.update(small.MODEL, name=variant)
    c.data.threads = 1
    c.eval.every_epochs = 5.0
    return c
