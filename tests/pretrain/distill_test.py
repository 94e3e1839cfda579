"""Distillation as the job does it: from a network, and from stored outputs."""

import json

import jax
import numpy as np
import pytest

from aemjax.data.prepared import PreparedSet
from aemjax.train import checkpoint
from aemjax.train.embed import embed_checkpoint
from pretrain.train import train
from tests.jobs import tiny_pretrain


@pytest.fixture
def config(audioset):
    config = tiny_pretrain(audioset)
    config.train.epochs = 1.0
    config.distill.update(label_weight=0.1, teacher_weight=0.9)
    return config


def test_a_network_teaches_and_a_stored_step_of_it_is_named(
    tmp_path, config, pretrained
):
    config.distill.teacher = f"{pretrained}@last"
    results = train(config, tmp_path / "run")
    last = json.loads((pretrained / "results.json").read_text())["steps"]
    kept = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert kept["teacher_step"] == last
    assert 0 < results["last"]["mAP"] < 1
    alone = tmp_path / "alone"
    config.distill.update(teacher="", label_weight=1.0, teacher_weight=0.0)
    train(config, alone)
    taught, plain = (
        jax.tree.leaves(checkpoint.load(f"{folder}@last")[0])
        for folder in (tmp_path / "run", alone)
    )
    assert any(not np.array_equal(x, y) for x, y in zip(taught, plain, strict=True))


@pytest.mark.slow
def test_stored_outputs_teach(tmp_path, config, pretrained, audioset):
    embed_checkpoint(
        f"{pretrained}@last", audioset, tmp_path / "logits", logits=True, batch_size=16
    )
    config.distill.logits = str(tmp_path / "logits")
    config.distill.temperature = 2.0
    results = train(config, tmp_path / "run")
    assert results["last"]["clips"] == 18
    # Half-way, the same command goes on and ends alike.
    config.checkpoint.every_steps = 3
    unbroken = checkpoint.load(f"{tmp_path}/run@last")[0]
    train(config, tmp_path / "again")
    again = checkpoint.load(f"{tmp_path}/again@last")[0]
    jax.tree.map(np.testing.assert_array_equal, again, unbroken)


def test_a_teacher_of_other_labels_is_refused(tmp_path, config, pretrained, esc50):
    config.distill.teacher = str(pretrained)
    config.data.update(path=str(esc50), train="full:1,2", eval="full:3")
    config.model.num_classes = 10
    config.loss.name = "ce"
    config.checkpoint.metric = "accuracy"
    assert PreparedSet(esc50).label_names
    with pytest.raises(ValueError, match="knows other labels than .*; 12 differ"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": "a", "logits": "b"}, "names a teacher, a, and stored logits, b"),
        ({}, "teacher_weight is 0.9, .* no teacher the weight 0"),
        (
            {"teacher_weight": 0.0},
            "label_weight is .*, but there is no teacher; set it",
        ),
        ({"teacher": "nowhere"}, "nowhere holds no checkpoints/"),
        ({"logits": "nowhere"}, "nowhere"),
        ({"teacher": "a", "temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(tmp_path, config, options, message):
    config.distill.update(options)
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
