"""AemResNet on AudioSet from scratch: checkpoint #1 of the thesis, and its front ends.

    python -m pretrain --config configs/pretrain/aemresnet_audioset.py:llf1 \
        --config.data.path=DIR --workdir RUN

Published for llf1: 11,744,143 parameters, mAP 0.3690 (Galindo-Meza 2021, chapter 4.5);
llf2 is the network of its COVID-19 paper (ISC 2021). log_mel and mfcc put the same
backbone on a spectrum with as many bands and frames, trained alike, which the thesis
leaves for later (chapter 8.2). Needs an accelerator: a forward pass of 10 s is 1.8e10
multiply-accumulates, and 80 epochs are 163 million of them.
"""

from ml_collections import ConfigDict

from configs.base import get_base

VARIANTS = ("llf1", "llf2", "log_mel", "mfcc")


def get_config(variant: str = "llf1") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = get_base()
    c.model.update(num_classes=527, frontend=variant)
    c.data.update(train="unbalanced_train", eval="eval")
    c.optimizer.update(learning_rate=5e-4, weight_decay=1e-8)
    c.train.update(batch_size=512, epochs=80.0)
    c.eval.update(batch_size=512)
    c.distill = ConfigDict(
        {
            "teacher": "",  # a pretraining run, whose network teaches in every step
            "logits": "",  # or stored outputs: of `aemjax embed`, or a public file
            "label_weight": 1.0,
            "teacher_weight": 0.0,
            "temperature": 1.0,
        }
    )
    return c
