"""AemNet-DW 2.0 on AudioSet, distilled from AemResNet: checkpoint #2 of the thesis.

    python -m pretrain --config configs/pretrain/distilled_audioset.py:aemnet_dw \
        --config.distill.teacher=RUN_OF_AEMRESNET --config.data.path=DIR --workdir RUN

Published for aemnet_dw: 2,967,130 parameters, mAP 0.3486 (Galindo-Meza 2021, chapter
4.5), Adam, batch 256, 60 epochs; how much the teacher weighs is our choice. aemnet is
the AemNet 2.0 that its chapter 4.5 fine-tunes, by the same recipe. Needs an accelerator:
8 GPUs or a small TPU slice. `distill.logits` takes stored outputs instead of a teacher.
"""

from ml_collections import ConfigDict

from configs.pretrain import aemresnet_audioset

VARIANTS = ("aemnet_dw", "aemnet")


def get_config(variant: str = "aemnet_dw") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = aemresnet_audioset.get_config()
    c.model.update(name=variant, width=2.0)
    c.optimizer.weight_decay = 1e-11
    c.train.update(batch_size=256, epochs=60.0)
    c.eval.batch_size = 256
    c.distill.update(label_weight=0.1, teacher_weight=0.9)
    return c
