"""Fine-tunes on UrbanSound8K, official ten folds (Galindo-Meza 2021, chapter 4.4.3).

    python -m finetune --config configs/finetune/urbansound8k.py:pretrained \
        --config.data.path=DIR --config.init_from=PRETRAIN_RUN --workdir RUN
    python -m finetune --config configs/finetune/urbansound8k.py:scratch \
        --config.data.path=DIR --workdir RUN

One GPU. AemResNet; `--config.model.name=aemnet` or `aemnet_dw` with
`--config.model.width=2.0` are the other two of the thesis, which names the set and
publishes no result on it. What it leaves open is our choice (`own_set.py`).
"""

from ml_collections import ConfigDict

from configs.finetune import own_set

VARIANTS = own_set.VARIANTS


def get_config(variant: str = "pretrained") -> ConfigDict:
    c = own_set.get_config(variant)
    c.model.num_classes = 10
    c.data.protocol = "official"
    return c
