"""AemResNet on AudioSet-20k, the balanced training set, by the published recipe.

    python -m pretrain --config configs/pretrain/aemresnet_audioset20k.py \
        --config.data.path=DIR --workdir RUN

22,160 clips, a hundredth of the whole set, and a common yardstick. One GPU will do.
Nothing is published for this network on it.
"""

from ml_collections import ConfigDict

from configs.pretrain import aemresnet_audioset


def get_config() -> ConfigDict:
    c = aemresnet_audioset.get_config()
    c.data.train = "balanced_train"
    c.train.update(batch_size=128, epochs=80.0)
    c.eval.update(batch_size=128, every_epochs=5.0)
    return c
