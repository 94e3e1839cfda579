"""AemNet-DW 0.5 on TAU Urban Acoustic Scenes 2020 Mobile, the data of DCASE 2021 1A.

    python -m finetune --config configs/finetune/dcase2021_1a.py:pretrained \
        --config.data.path=DIR --config.init_from=PRETRAIN_RUN --workdir RUN
    python -m finetune --config configs/finetune/dcase2021_1a.py:scratch \
        --config.data.path=DIR --workdir RUN
    python -m finetune.compress --config configs/finetune/dcase2021_1a.py:pretrained \
        --config.data.path=DIR --config.init_from=PRETRAIN_RUN --workdir RUN

One GPU. Published before compression: accuracy 61.49 %, 319,093 parameters, 1246.45 KB
(Galindo-Meza 2021, chapter 5, Table 6); the challenge's baseline 46.40 %, 90 KB. Crops
of 1 s train, whole clips of 10 s evaluate; accuracy and log loss, overall and per
device. The thesis searches learning rate, its decay, weight decay, dropout and the
embedder's share of the rate, and does not print what it found: the values here are
where a search may begin.

Compressed, as published: 58.73 % with 127,637 parameters, 56.50 % as INT8 in 124.64 KB.
The variant `aemresnet` is the chain for AemResNet, of which nothing is published: its 11
million parameters meet 128 KiB with one in a hundred left, in eight rounds.
"""

from ml_collections import ConfigDict

from configs.finetune import own_set

VARIANTS = (*own_set.VARIANTS, "aemresnet")


def get_config(variant: str = "pretrained") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = own_set.get_config("scratch" if variant == "scratch" else "pretrained")
    c.model.update(name="aemnet_dw", num_classes=10, frontend="llf2", width=0.5)
    c.data.update(protocol="official", crop_s=1.0)
    c.compress.budget = "128KiB"
    if variant == "aemresnet":
        c.model.update(name="aemresnet", frontend="llf1", width=1.0)
        c.compress.rounds = 8
        c.prune.scope = "layer"  # of all together, whole layers would go
    return c
