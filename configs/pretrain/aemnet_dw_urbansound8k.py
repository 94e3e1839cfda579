"""AemNet-DW 0.5 on UrbanSound8K: a pretraining that a desktop machine can do.

    python -m pretrain --config configs/pretrain/aemnet_dw_urbansound8k.py \
        --config.data.path=DIR --workdir RUN

One label per clip, so cross-entropy and accuracy. Folds 1 and 2 train, fold 10
evaluates. Nothing is published for it; docs/transfer.md has what we measured.
"""

from ml_collections import ConfigDict

from configs.pretrain import aemresnet_audioset


def get_config() -> ConfigDict:
    c = aemresnet_audioset.get_config()
    c.model.update(name="aemnet_dw", num_classes=10, frontend="llf2", width=0.5)
    c.data.update(train="full:1,2", eval="full:10", crop_s=1.0, threads=2)
    c.optimizer.update(learning_rate=1e-3, weight_decay=1e-5)
    c.loss.name = "ce"
    c.train.update(batch_size=32, epochs=20.0)
    c.eval.update(batch_size=32, every_epochs=2.0)
    c.checkpoint.metric = "accuracy"
    return c
