"""AemResNet on the lung sounds of ICBHI 2017 (Galindo-Meza 2021, chapter 6).

    python -m finetune --config configs/finetune/icbhi.py:official \
        --config.data.path=DIR --config.init_from=PRETRAIN_RUN --workdir RUN

One GPU. Variants are the divisions; published Se / Sp / average score (Table 8):

    official   the 60/40 lists: .251 / .870 / .561 at 60 % of the rate for the embedder,
               .304 / .765 / .535 from scratch
    custom     cycles drawn 80/20 with five seeds, patients disregarded: .678 / .865 /
               .772 at 10 %, .540 / .828 / .684 from scratch
    patients   five folds with no patient on both sides; nothing is published for it

The official lists share the patients 156 and 218, and name one recording otherwise than
its file, which the thesis most likely counted to the test side; here it trains. From
scratch: `--config.optimizer.lr_fraction=1.0` without `init_from`. `alpha` is one minus
each class' share of the clips evaluated on, as published for the official lists; for the
other divisions it is that of all of them together.
"""

from ml_collections import ConfigDict

from configs.finetune import own_set

VARIANTS = ("official", "custom", "patients")


def get_config(variant: str = "official") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = own_set.get_config()
    c.model.num_classes = 4
    c.loss.update(name="focal", gamma=0.5, alpha=())
    if variant == "official":
        c.data.protocol = "official"
        c.loss.alpha = (0.4272, 0.7636, 0.8609, 0.9483)
        c.optimizer.lr_fraction = 0.6
    elif variant == "custom":
        c.data.update(protocol="draws", folds=5, grouped=False)
        c.optimizer.lr_fraction = 0.1
    else:
        c.data.update(protocol="kfold", folds=5, grouped=True)
        c.optimizer.lr_fraction = 0.6
    c.data.crop_s = 8.0  # 15 cycles are longer; shorter ones are looped
    c.augment.update(mixup_alpha=0.1, mixup_start_fraction=35 / 350)
    c.optimizer.update(name="adam", learning_rate=1e-3, weight_decay=2e-4)
    c.train.update(batch_size=64, epochs=350.0)
    c.checkpoint.metric = "AS"
    return c
