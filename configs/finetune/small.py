"""The experiments at a size that a CPU core trains in minutes: docs/results.

    python -m finetune --config configs/finetune/small.py:esc10 \
        --config.data.path=DIR --workdir RUN

From scratch; `--config.init_from=PRETRAIN_RUN` and `--config.optimizer.lr_fraction=0.1`
are the other way. Variants are the sets; the models `--config.model.name=aemnet`,
`aemnet_dw` and `aemresnet`, each a quarter as wide as with 1.0. The crops are short and
the epochs few: nothing is published for it.
"""

from ml_collections import ConfigDict

from configs.finetune import own_set

VARIANTS = ("esc10", "urbansound8k", "icbhi_official", "icbhi_custom", "covid19_cough")


def get_config(variant: str = "esc10") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = own_set.get_config("scratch")
    c.model.update(name="aemnet", width=0.25)
    c.data.update(crop_s=1.0, threads=1)
    c.optimizer.update(name="adam", learning_rate=1e-3, weight_decay=2e-4)
    c.train.update(batch_size=16, epochs=25.0, ema_decay=0.99)
    c.eval.update(batch_size=32, every_epochs=5.0)
    if variant == "esc10":
        c.data.protocol = "official"
    elif variant == "urbansound8k":
        c.data.protocol = "official"
        c.train.epochs = 10.0
    elif variant == "covid19_cough":
        c.checkpoint.metric = "F1"
        c.train.epochs = 10.0
    else:
        if variant == "icbhi_official":
            c.data.protocol = "official"
        else:
            c.data.update(protocol="draws", folds=5, grouped=False)
        c.loss.update(name="focal", gamma=0.5, alpha=())
        c.data.crop_s = 2.0
        c.train.epochs = 10.0
        c.checkpoint.metric = "AS"
    return c
