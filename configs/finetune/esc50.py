"""Fine-tunes on ESC-50, official five folds.

    python -m finetune --config configs/finetune/esc50.py:pretrained \
        --config.data.path=DIR --config.init_from=PRETRAIN_RUN --workdir RUN
    python -m finetune --config configs/finetune/esc50.py:scratch \
        --config.data.path=DIR --workdir RUN

One GPU. Published figures are over random draws, not over the official folds: see
`transfer_study.py`, which has both. Here all takes of a recording stay in one fold.
"""

from ml_collections import ConfigDict

from configs.finetune import own_set

VARIANTS = own_set.VARIANTS


def get_config(variant: str = "pretrained") -> ConfigDict:
    c = own_set.get_config(variant)
    c.model.num_classes = 50
    c.data.protocol = "official"
    return c
