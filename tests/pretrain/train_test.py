import json

import jax
import numpy as np
import pytest

from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import by_split
from aemjax.train import checkpoint, writer
from aemjax.train.evaluate import evaluate_checkpoint
from pretrain.train import train
from tests.jobs import tiny_pretrain


def test_a_run_leaves_what_it_promises(pretrained, audioset):
    data = PreparedSet(audioset)
    clips = len(by_split(data, "unbalanced_train+balanced_train"))
    results = json.loads((pretrained / "results.json").read_text())
    assert results["train_clips"] == clips
    assert results["dataset"] == "audioset"
    assert results["steps"] == round(2 * clips / 16)
    config = json.loads((pretrained / "config.json").read_text())
    assert config["config"]["data_fingerprint"] == data.fingerprint
    assert config["versions"]["jax"] == jax.__version__
    lines = writer.read(pretrained)
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
    evaluated = [line for line in lines if "eval/mAP" in line]
    assert [line["step"] for line in evaluated][-1] == results["steps"]
    assert len(evaluated) == 2
    assert evaluated[-1]["eval/clips"] == len(by_split(data, "eval"))
    assert all(
        np.isfinite(line["train/loss"]) for line in lines if "train/loss" in line
    )
    assert list(pretrained.glob("events.*"))
    trained = [line for line in lines if "train/loss" in line]
    for name in ("grad_norm", "clips_per_s", "data_wait", "lr/all", "damaged_records"):
        assert all(f"train/{name}" in line for line in trained)
    assert trained[0]["train/lr/all"] == pytest.approx(5e-4, rel=0.1)
    assert trained[-1]["train/lr/all"] < 1e-4 < trained[0]["train/lr/all"]


def test_the_kept_steps_are_the_first_the_best_and_the_newest(pretrained):
    results = json.loads((pretrained / "results.json").read_text())
    with checkpoint.Checkpoints(pretrained, metric="mAP", read_only=True) as kept:
        assert set(kept.steps) == {0, results["best_step"], results["steps"]}
        assert kept.best_step == results["best_step"]


def test_the_card_says_what_the_model_is(pretrained, audioset):
    _, card, step = checkpoint.load(f"{pretrained}@last")
    assert step == json.loads((pretrained / "results.json").read_text())["steps"]
    assert card.labels == list(PreparedSet(audioset).label_names)
    assert (card.sample_rate, card.multi_label, card.metric) == (16_000, True, "mAP")
    assert card.model["name"] == "tests.tiny:Backbone"


def test_a_checkpoint_scores_as_the_run_said(pretrained, audioset):
    results = json.loads((pretrained / "results.json").read_text())
    found = evaluate_checkpoint(
        f"{pretrained}@last", audioset, split="eval", batch_size=8
    )
    assert found["mAP"] == pytest.approx(results["last"]["mAP"], abs=1e-4)
    assert found["clips"] == results["last"]["clips"]


def test_a_checkpoint_is_refused_on_other_labels(pretrained, esc50):
    with pytest.raises(ValueError, match="knows other labels than"):
        evaluate_checkpoint(str(pretrained), esc50)


def test_a_finished_run_is_left_alone(pretrained, audioset):
    before = (pretrained / "metrics.jsonl").read_bytes()
    results = train(tiny_pretrain(audioset), pretrained)
    assert results == json.loads((pretrained / "results.json").read_text())
    assert (pretrained / "metrics.jsonl").read_bytes() == before


def test_a_folder_of_another_config_is_refused(pretrained, audioset):
    config = tiny_pretrain(audioset)
    config.optimizer.learning_rate = 0.5
    config.data.threads = 2  # may change
    with pytest.raises(ValueError, match="1 entries differ:\n.*learning_rate: 0.0005"):
        train(config, pretrained)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "batch_size", 12, "batch_size 12 is not a multiple of 16"),
        ("eval", "batch_size", 12, "batch_size 12 is not a multiple of 8"),
        ("model", "num_classes", 527, "num_classes is 527.* has 12 classes"),
        ("model", "name", "aemnot", "unknown model 'aemnot'"),
        ("loss", "name", "ce", "'ce' takes one label per clip"),
        ("data", "train", "train", "no clips in 'train'.*unbalanced_train"),
        ("data", "path", "nowhere", "nowhere is not a prepared set"),
        ("optimizer", "name", "adagrad", "unknown optimizer 'adagrad'"),
        ("schedule", "name", "linear", "unknown schedule 'linear'"),
        ("data", "eval", "balanced_train", "clips are both trained and evaluated on"),
        ("train", "microbatches", 3, "not a multiple of 48 .* in 3 microbatches"),
        ("train", "remat", "all", "unknown remat 'all'; known: .*'block'"),
        ("train", "ema_decay", 1.0, "ema_decay is 1.0"),
        ("data", "sampling", "classes", "unknown sampling 'classes'; known: uniform"),
        ("augment", "mixup_alpha", 2.0, "mixup_alpha is 2.0"),
        ("schedule", "warmup_fraction", 1.0, "warmup_fraction is 1.0"),
        ("checkpoint", "metric", "ema_mAP", "metric is 'ema_mAP'"),
        ("distill", "teacher", "nowhere", "teacher_weight is 0.0"),
        (
            "checkpoint",
            "metric",
            "accuracy",
            "metric is 'accuracy'; a multi-label .*mAP",
        ),
    ],
)
def test_bad_configs_end_in_one_clear_error(
    tmp_path, audioset, section, key, value, message
):
    config = tiny_pretrain(audioset)
    config[section][key] = value
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, audioset):
    config = tiny_pretrain(audioset)
    config.optimizer.learning_rate = 1e38
    with pytest.raises(ValueError, match="the loss is .* at step .*learning_rate"):
        train(config, tmp_path / "run")
    with checkpoint.Checkpoints(tmp_path / "run", read_only=True) as kept:
        assert kept.steps[0] == 0
        for leaf in jax.tree.leaves(kept.load_weights(kept.steps[-1])):
            assert np.isfinite(leaf).all()


@pytest.mark.slow
def test_a_record_that_cannot_be_read_stops_the_run(tmp_path, audioset, monkeypatch):
    config = tiny_pretrain(audioset)
    config.data.max_damaged = 3

    def fail(self, row, start, out):
        raise OSError(5, "Input/output error")

    train(config, tmp_path / "run")
    whole = checkpoint.load(f"{tmp_path}/run@last")[0]
    monkeypatch.setattr(PreparedSet, "read_into", fail)
    with pytest.raises(OSError, match="batch of step 0 failed: .*Input/output"):
        train(config, tmp_path / "other")
    with checkpoint.Checkpoints(tmp_path / "other", read_only=True) as kept:
        assert kept.steps == [0]
    monkeypatch.undo()
    train(config, tmp_path / "other")  # the same command goes on
    resumed = checkpoint.load(f"{tmp_path}/other@last")[0]
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
