"""AemNet-DW 0.5 with llf2 on AudioSet: where the DCASE 2021 experiment starts.

    python -m pretrain --config configs/pretrain/aemnet_dw_audioset.py \
        --config.data.path=DIR --workdir RUN

584,314 parameters; the thesis (chapter 5.3) says neither how it was pretrained nor its
mAP: this is the recipe of checkpoint #2 without a teacher. Its step 0 is kept: the
lottery ticket rewinds to it. Needs an accelerator; one GPU will do.
"""

from ml_collections import ConfigDict

from configs.pretrain import distilled_audioset


def get_config() -> ConfigDict:
    c = distilled_audioset.get_config()
    c.model.update(width=0.5, frontend="llf2")
    c.distill.update(label_weight=1.0, teacher_weight=0.0)
    return c
