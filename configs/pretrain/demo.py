"""A small AemNet-DW on a small AudioSet twin: `make demo`'s pretraining.

    python -m pretrain --config configs/pretrain/demo.py \
        --config.data.path=build/demo/audioset --workdir build/demo/pretrained

Two CPU cores, a minute and a half. Nothing is published for it.
"""

from ml_collections import ConfigDict

from configs.pretrain import aemresnet_audioset


def get_config() -> ConfigDict:
    c = aemresnet_audioset.get_config()
    c.model.update(name="aemnet_dw", num_classes=20, width=0.25, frontend="33,16,5,5")
    c.data.update(train="unbalanced_train+balanced_train", crop_s=1.0, threads=2)
    # Of a run this short mixup and large batches take more than they give.
    c.augment.mixup_alpha = 0.0
    c.optimizer.learning_rate = 2e-3
    c.train.update(batch_size=16, epochs=8.0, log_every_steps=50)
    c.eval.update(batch_size=32, every_epochs=8.0)
    return c
