"""Which front end: llf1 against llf2 from scratch (Galindo-Meza 2021, chapter 4.6).

    python -m finetune --config configs/finetune/llf_study.py:esc50-aemnet_dw-llf1 \
        --config.data.path=DIR --workdir RUN

Variants are DATASET-MODEL-LLF: esc50 or dcase2013, aemnet or aemnet_dw, llf1 or llf2.
One GPU. Published, accuracy / F1 in % over five folds, and minutes (Table 5):

    dcase2013  aemnet     llf1 67.00 / 66.07,  30    llf2 67.00 / 65.67,  31
    dcase2013  aemnet_dw  llf1 55.00 / 53.29,  33    llf2 58.33 / 56.15,  33
    esc50      aemnet     llf1 76.00 / 75.31,  87    llf2 79.70 / 79.13, 105
    esc50      aemnet_dw  llf1 70.10 / 68.73, 125    llf2 71.05 / 69.71, 143

ESC-50 has official folds; those of DCASE 2013 are drawn by `data.split_seed`, over its
200 clips. The length of the crops is our choice.
"""

import itertools

from ml_collections import ConfigDict

from configs.finetune import own_set

VARIANTS = tuple(
    map(
        "-".join,
        itertools.product(
            ("esc50", "dcase2013"), ("aemnet", "aemnet_dw"), ("llf1", "llf2")
        ),
    )
)


def get_config(variant: str = "esc50-aemnet-llf1") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    dataset, model, frontend = variant.split("-")
    c = own_set.get_config("scratch")
    c.model.update(name=model, frontend=frontend, width=1.0)
    if dataset == "esc50":
        c.model.num_classes = 50
        c.data.update(protocol="official", crop_s=1.5)
    else:
        c.model.num_classes = 10
        c.data.update(protocol="kfold", folds=5, crop_s=1.0)
    c.optimizer.update(name="adam", learning_rate=1e-3, weight_decay=2e-4)
    c.augment.update(mixup_alpha=0.1, mixup_start_fraction=0.05)
    c.train.update(batch_size=128, epochs=600.0)
    return c
