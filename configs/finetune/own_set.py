"""Fine-tunes on a set of your own; the other experiments change what they name.

    aemjax prepare manifest --source DIR --out prepared/own
    python -m finetune --config configs/finetune/own_set.py:pretrained \
        --config.data.path=prepared/own --config.init_from=PRETRAIN_RUN --workdir RUN
    python -m finetune --config configs/finetune/own_set.py:scratch \
        --config.data.path=prepared/own --workdir RUN

One GPU, or CPU cores for small sets; the hours are those of the set. The division is
five stratified folds with no group on both sides; `--config.data.protocol=official` for
folds of your own, `lists` with `data.train` and `data.eval` for splits of your own.
Nothing is published for it. The hyper-parameters are those of the published system
(Galindo-Meza 2021, chapters 4 to 7) where it gives them for most tasks, else our choice.
"""

from ml_collections import ConfigDict

from configs.base import get_base

VARIANTS = ("pretrained", "scratch")


def get_config(variant: str = "pretrained") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    c = get_base()
    # A pretraining run: its best step; "@last" or "@STEP" behind it for another.
    c.init_from = ""
    c.prune = ConfigDict(
        {
            "run": "",  # a fine-tuning run whose weights say what goes; "@last", "@STEP"
            "sparsity": 0.0,  # share of all parameters that is zero; kernels alone go
            "scope": "global",  # or layer: the same share of each
            "start": "init_from",  # what is left is rewound to it; run: it is kept; STEP
        }
    )
    # A fine-tuning run, pruned or not, to go on from in numerics "int8"; its zeros stay.
    c.quantize = ConfigDict({"run": ""})
    # Of `python -m finetune.compress` alone: prune, rewind, retrain, integers.
    c.compress = ConfigDict(
        {
            "sparsity": 0.6,  # share of all parameters
            "rounds": 1,  # of pruning, each rewound; the same share of what is left
            "rewind": "pretraining",  # its step 0; or finetuning: its start; or a STEP
            "budget": "",  # such as 128KiB: also the sparsity that stores in it
            "magnitude": True,  # compare with pruning that does not rewind
            "int8_learning_rate": 1e-4,
            "int8_epochs": 50.0,
            "select": "best",  # epoch of each stage to go on from; or last
        }
    )
    c.seeds = 1  # how many, from `seed` on: each trains by each division
    c.init_patterns = ("frontend/.*", "backbone/.*", "embedding/.*")
    c.data.update(
        protocol="kfold",  # official, kfold, draws, or lists: data.train and data.eval
        folds=5,  # of kfold, and how many draws
        split_seed=0,  # of folds and draws
        grouped=True,  # no recording, patient or user on both sides of what is drawn
        fold=0,  # the one held out; 0: each in turn
        validation_share=0.0,  # of what trains, to select on; 0: on what is evaluated
        crop_s=1.5,
        threads=4,
    )
    # The embedder's share of the learning rate; 0: frozen.
    c.optimizer.lr_fraction = 0.1 if variant == "pretrained" else 1.0
    c.optimizer.layer_decay = 1.0  # from each of its stages to the one before it
    c.optimizer.unfreeze_fraction = 0.0  # of the run, before the next stage trains
    c.optimizer.groups = (
        ConfigDict()
    )  # your own: {name: {"patterns", "lr_fraction", ...}}
    c.optimizer.weight_decay = 2e-4
    c.loss.name = "ce"
    c.train.update(epochs=350.0, log_every_steps=50)
    c.train.runs_at_once = 1  # divisions and seeds that one step trains: see docs
    c.eval.update(window_s=0.0, hop_s=0.0)  # of long clips; 0: whole
    c.eval.resamples = 1000  # of the bootstrap intervals at the end; 0: none
    c.checkpoint.metric = "accuracy"
    return c
