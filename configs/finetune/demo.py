"""The demo's fine-tuning on a fold of an ESC-50 twin of ten classes; four evaluate.

    python -m finetune --config configs/finetune/demo.py:pretrained \
        --config.data.path=build/demo/esc50 \
        --config.init_from=build/demo/pretrained --workdir build/demo/finetuned

`:scratch` is the same budget without a checkpoint. Nothing is published for it.
"""

from ml_collections import ConfigDict

from configs.finetune import esc50

VARIANTS = esc50.VARIANTS


def get_config(variant: str = "pretrained") -> ConfigDict:
    c = esc50.get_config(variant)
    c.model.update(name="aemnet_dw", num_classes=10, width=0.25, frontend="33,16,5,5")
    c.data.update(protocol="lists", train="full:1", eval="full:2,3,4,5")
    c.data.update(crop_s=1.0, threads=2)
    if variant == "pretrained":
        c.optimizer.lr_fraction = 1.0
    c.train.update(batch_size=32, epochs=24.0, log_every_steps=20)
    c.eval.update(batch_size=16, every_epochs=24.0, resamples=100)
    return c
