"""Numbers that no training makes sense with, refused by both jobs before they begin."""

import math

import pytest

from aemjax.train import limits
from finetune.train import train as finetune
from pretrain.train import train as pretrain
from tests.jobs import tiny_finetune, tiny_pretrain

OF_BOTH = [
    ("data.crop_s", -1.0, "more than 0"),
    ("data.crop_s", math.nan, "more than 0"),
    ("data.threads", -1, "1 or more"),
    ("data.max_damaged", -1, "0 or more"),
    ("augment.mixup_start_fraction", 2.0, "from 0 to 1: a share"),
    ("optimizer.learning_rate", -1e-3, "0 or more"),
    ("optimizer.weight_decay", -1e-3, "0 or more"),
    ("train.epochs", 0.0, "more than 0"),
    ("train.log_every_steps", 0, "1 or more"),
    ("train.hang_timeout_s", -1.0, "0 or more"),
    ("eval.every_epochs", 0.0, "more than 0"),
    ("checkpoint.every_steps", 0, "1 or more"),
    ("checkpoint.keep_latest", 0, "1 or more"),
]


def test_every_limit_is_tried():
    tried = {field for field, *_ in OF_BOTH} | {"optimizer.lr_fraction"}
    assert tried == set(limits.LIMITS)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [*OF_BOTH, ("optimizer.lr_fraction", 60.0, "from 0 to 1: a share, not a perc")],
)
def test_fine_tuning_refuses_it(tmp_path, esc50, field, value, expected):
    config = tiny_finetune(esc50, "scratch")
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=f"^{field} is {value}, expected {expected}"):
        finetune(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("field", "value", "expected"), OF_BOTH)
def test_pretraining_refuses_it(tmp_path, audioset, field, value, expected):
    config = tiny_pretrain(audioset)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=f"^{field} is {value}, expected {expected}"):
        pretrain(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_intervals_need_resamples_or_none(tmp_path, esc50):
    config = tiny_finetune(esc50, "scratch")
    config.eval.resamples = 10
    with pytest.raises(ValueError, match="resamples is 10; .* needs at least 40"):
        finetune(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
