import json
import shutil

import jax
import numpy as np
import pytest

from aemjax import models
from aemjax.data.prepared import PreparedSet
from aemjax.report.table import side_by_side as report
from aemjax.train import checkpoint, evaluate, sharding, writer
from finetune.train import train
from tests import jobs
from tests.jobs import tiny_finetune


@pytest.fixture(scope="module")
def frozen(tmp_path_factory, esc50, pretrained):
    """A run of folds 1 and 2 with a frozen embedder."""
    folder = tmp_path_factory.mktemp("runs") / "frozen"
    config = tiny_finetune(esc50, "pretrained")
    config.init_from = f"{pretrained}@last"
    config.optimizer.lr_fraction = 0.0
    config.data.fold = 0
    train(config, folder)
    return folder


def test_a_frozen_embedder_stays_as_it_was_pretrained(frozen, pretrained):
    source, _, _ = checkpoint.load(f"{pretrained}@last")
    tuned, card, _ = checkpoint.load(f"{frozen / 'fold1_seed0'}@last")
    start, _, _ = checkpoint.load(f"{frozen / 'fold1_seed0'}@0")
    for collection in ("params", "batch_stats"):
        for block in ("frontend", "backbone", "embedding"):
            if block in source[collection]:
                jax.tree.map(
                    np.testing.assert_array_equal,
                    source[collection][block],
                    tuned[collection][block],
                )
    heads = [tree["params"]["head"]["dense"]["kernel"] for tree in (start, tuned)]
    assert heads[1].shape == (512, 10)
    assert not np.array_equal(*heads)
    assert len(card.labels) == 10


def test_every_fold_is_scored_and_summed_up(frozen, esc50):
    results = json.loads((frozen / "results.json").read_text())
    assert [run["fold"] for run in results["runs"]] == [1, 2, 3, 4, 5]
    assert results["split"] == "official 5 folds"
    for run in results["runs"]:
        assert (run["train_clips"], run["eval_clips"]) == (80, 20)
        confusion = np.array(run["last"]["confusion"])
        assert confusion.sum() == 20
        accuracy = np.trace(confusion) / 20
        assert run["last"]["metrics"]["accuracy"] == pytest.approx(accuracy)
        best = run["best"]["metrics"]["accuracy"]
        assert best >= run["last"]["metrics"]["accuracy"]
    values = [run["last"]["metrics"]["accuracy"] for run in results["runs"]]
    summary = results["summary"]["last"]["accuracy"]
    assert summary["mean"] == pytest.approx(np.mean(values))
    assert summary["std"] == pytest.approx(np.std(values, ddof=1))
    half = 2.776445 * np.std(values, ddof=1) / np.sqrt(5)  # Student's t, 4 degrees
    assert summary["interval"] == pytest.approx(
        [summary["mean"] - half, summary["mean"] + half]
    )


def test_the_report_prints_what_was_measured(frozen):
    results = json.loads((frozen / "results.json").read_text())
    row = report([frozen]).splitlines()[-1].replace("\u00a0", " ")
    assert row.startswith("| frozen | esc50 | official 5 folds | 0 | ")
    assert "| frozen | accuracy |" in row  # the embedder's share of the rate
    last = results["summary"]["last"]["accuracy"]
    assert f"| {last['mean']:.4f} ± {last['std']:.4f} (" in row


@pytest.mark.slow
def test_a_checkpoint_of_eight_devices_fine_tunes_on_one(tmp_path, esc50, pretrained):
    config = "configs/finetune/esc50.py:pretrained"
    overrides = jobs.overrides(tiny_finetune(esc50, "pretrained"))
    overrides["init_from"] = pretrained
    code, output = jobs.run("finetune", config, tmp_path / "run", overrides)
    assert code == 0, output
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["lr_fraction"] == 0.1
    # The embedder trained, at its fraction of the rate: it moved, and less than 1e-3.
    source, _, _ = checkpoint.load(str(pretrained))
    fold = tmp_path / "run" / "fold1_seed0"
    tuned, _, _ = checkpoint.load(f"{fold}@last")
    moved = [
        np.abs(a - b).max()
        for a, b in zip(
            jax.tree.leaves(source["params"]["backbone"]),
            jax.tree.leaves(tuned["params"]["backbone"]),
            strict=True,
        )
    ]
    steps = results["runs"][0]["last"]["step"]
    assert 0 < max(moved) <= steps * 1e-4 * 1.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init_from": ""}, "lr_fraction is 0.1, but there is no init_from"),
        ({"init_from": "nowhere"}, "nowhere holds no checkpoints/"),
        ({"model.width": 0.25}, "another model.*\n.*width: 1.0 in the checkpoint"),
        ({"model.frontend": "llf2"}, "another model.*\n.*frontend: llf1"),
        ({"init_patterns": ("tail/.*",)}, "match no parameter"),
        ({"init_patterns": (".*",)}, "does not fit.*\n.*head/dense"),
        ({"model.name": "aemnot"}, "unknown model 'aemnot'"),
        ({"schedule.name": "linear"}, "unknown schedule 'linear'"),
        (
            {"checkpoint.metric": "mAP"},
            "metric is 'mAP'; a single-label .*accuracy",
        ),
        ({"loss.name": "focal"}, "loss 'focal': .*gamma"),
        ({"data.protocol": "kfolds"}, "unknown protocol 'kfolds'; known: "),
        ({"data.protocol": "lists"}, "'lists' with train '' and eval ''"),
        ({"data.fold": 7}, r"no fold 7; it has \[1, 2, 3, 4, 5\]"),
        ({"seeds": 0}, "seeds is 0, expected 1 or more"),
        ({"train.runs_at_once": 0}, "train.runs_at_once is 0, expected 1 or more"),
        ({"seed": -1}, "seed is -1, expected from 0 to 4294967295"),
        ({"data.validation_share": 2.0}, "validation_share is 2.0, expected between"),
        ({"optimizer.unfreeze_fraction": 0.4}, "frontend would begin to train at step"),
        ({"eval.hop_s": 0.5}, "windows of 0.0 s every 0.5 s: expected a frame"),
        ({"eval.window_s": 0.5}, "windows of 0.5 s every 0.0 s: expected a frame"),
        ({"optimizer.layer_decay": 2.0}, "layer_decay is 2.0, expected 0 <"),
        (
            {
                "init_patterns": ("frontend/.*", "backbone/.*"),
                "optimizer.lr_fraction": 0.0,
            },
            "embedding/.* is random at first .*: group 'embedder' has the rate 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, esc50, pretrained, change, message):
    config = tiny_finetune(esc50, "pretrained")
    config.init_from = str(pretrained)
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_last_evaluation_is_known_as_the_last(tmp_path, esc50):
    config = tiny_finetune(esc50, "scratch")
    config.train.epochs, config.eval.every_epochs = 4.0, 0.5
    told = []
    results = train(
        config,
        tmp_path / "run",
        observe_evaluation=lambda run, number, metrics: told.append(number),
    )
    assert results["split"] == "official 5 folds, fold 1 alone"
    assert results["runs"][0]["last"]["step"] == 20  # 8 in 20 steps would be every 2.5
    assert told == [1, 2, 3, 4, 5, 6, 8]


@pytest.mark.parametrize(
    "name, value", [("lr_fraction", 0.5), ("unfreeze_fraction", 0.1)]
)
def test_nothing_of_a_random_start_is_frozen_or_slow(tmp_path, esc50, name, value):
    config = tiny_finetune(esc50, "scratch")
    config.optimizer[name] = value
    with pytest.raises(
        ValueError, match=f"optimizer.{name} is {value}, but there is no"
    ):
        train(config, tmp_path / "run")


def test_alpha_must_be_one_number_for_each_class(tmp_path, esc50):
    config = tiny_finetune(esc50, "scratch")
    config.loss.update(name="focal", gamma=0.5, alpha=(0.5, 0.5))
    with pytest.raises(ValueError, match="alpha"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_drawn_division_with_focal_loss_and_as_many_classes_as_there_are(
    tmp_path, esc50
):
    config = tiny_finetune(esc50, "scratch")
    config.model.num_classes = 0
    config.data.update(protocol="draws", folds=3, split_seed=7, fold=2, grouped=False)
    config.loss.update(name="focal", gamma=0.5, alpha=())
    results = train(config, tmp_path / "run")
    assert results["split"] == (
        "3 stratified 80/20 draws by seed 7, groups disregarded, draw 2 alone"
    )
    (run,) = results["runs"]
    assert (run["fold"], run["train_clips"], run["eval_clips"]) == (2, 80, 20)
    assert run["shared_groups"] > 0
    low, high = run["last"]["intervals"]["accuracy"]
    assert low <= run["last"]["metrics"]["accuracy"] <= high
    assert np.array(run["last"]["confusion"]).sum(axis=1).tolist() == [2] * 10
    summary = results["summary"]["last"]
    assert summary["accuracy"]["interval"] is None  # of one division
    precision, recall = (summary[name]["mean"] for name in ("precision", "recall"))
    of_means = 2 * precision * recall / (precision + recall)
    assert summary["F1"]["of_means"] == pytest.approx(of_means)


@pytest.mark.slow
def test_seeds_side_by_side_train_as_one_by_one(tmp_path, esc50):
    config = tiny_finetune(esc50, "scratch")
    config.seeds = 2
    config.train.update(ema_decay=0.5, log_every_steps=1)
    one_by_one = train(config, tmp_path / "a")
    config.train.runs_at_once = 5
    at_once = train(config, tmp_path / "b")
    assert [(run["fold"], run["seed"]) for run in at_once["runs"]] == [(1, 0), (1, 1)]
    assert set(at_once["summary"]) == {"best", "last", "ema"}
    for own, expected in zip(at_once["runs"], one_by_one["runs"], strict=True):
        assert set(own) == set(expected)
        assert own["last"]["step"] == expected["last"]["step"]
        name = f"fold1_seed{own['seed']}"
        found, wanted = (writer.read(tmp_path / run / name) for run in "ab")
        assert [set(line) for line in found] == [set(line) for line in wanted]
        # Later losses differ by rounding, which Adam amplifies.
        assert found[0]["train/loss"] == pytest.approx(
            wanted[0]["train/loss"], rel=1e-4
        )
    # A kill between the last save of one and that of the other.
    (tmp_path / "b" / "results.json").unlink()
    last = at_once["runs"][1]["last"]["step"]
    shutil.rmtree(tmp_path / "b" / "fold1_seed1" / "checkpoints" / str(last))
    again = train(config, tmp_path / "b")["runs"]
    for own, expected in zip(again, at_once["runs"], strict=True):
        assert own["last"]["metrics"] == expected["last"]["metrics"]
        assert own["ema"]["metrics"] == expected["ema"]["metrics"]


@pytest.fixture(scope="module")
def validated(tmp_path_factory, esc50, pretrained):
    """(config, folder, results): a fifth held out, averaged weights, windows, stages."""
    folder = tmp_path_factory.mktemp("runs") / "validated"
    config = tiny_finetune(esc50, "pretrained")
    config.init_from = str(pretrained)
    config.data.validation_share = 0.2
    config.eval.update(window_s=0.5, hop_s=0.25)
    config.train.update(epochs=2.0, ema_decay=0.5)
    config.optimizer.update(lr_fraction=1.0, layer_decay=0.5, unfreeze_fraction=0.2)
    return config, folder, train(config, folder)


def test_what_selects_is_held_out_of_what_trains(validated):
    _, folder, results = validated
    assert results["selected_on"] == "20% of the clips to train on, held out"
    (run,) = results["runs"]
    assert run["train_clips"] + run["validation_clips"] == 80
    assert run["eval_clips"] == 20
    lines = writer.read(folder / "fold1_seed0")
    evaluated = [line for line in lines if "eval/accuracy" in line]
    assert {line["eval/clips"] for line in evaluated} == {run["validation_clips"]}
    by_step = {line["step"]: line["eval/accuracy"] for line in evaluated}
    assert by_step[run["best"]["step"]] == max(by_step.values())
    assert run["best"]["validation"] == pytest.approx(max(by_step.values()))
    assert np.sum(run["best"]["confusion"]) == 20  # scored on the others


def test_best_last_and_averaged_weights_are_scored(validated):
    config, folder, results = validated
    (run,) = results["runs"]
    data = PreparedSet(config.data.path)
    evaluator = evaluate.Evaluator(
        models.create(**config.model),
        sharding.data_mesh(),
        batch_size=16,
        window_s=0.5,
        hop_s=0.25,
    )
    rows = np.flatnonzero(data.fold == 1)
    with checkpoint.Checkpoints(folder / "fold1_seed0", read_only=True) as kept:
        for which, item in (("best", "weights"), ("last", "weights"), ("ema", "ema")):
            weights = kept.load_weights(run[which]["step"], item)
            found = evaluate.score(data, *evaluator.logits(weights, data, rows))
            assert found == pytest.approx(run[which]["metrics"])
            calibrated = run[which]["calibrated"]
            assert calibrated["log_loss_as_is"] == pytest.approx(found["log_loss"])
            assert results["summary"][which]["accuracy"]["mean"] == found["accuracy"]


def test_stages_unfreeze_one_after_the_other(validated):
    _, folder, _ = validated
    lines = writer.read(folder / "fold1_seed0")
    rates = {
        name: [line[f"train/lr/{name}"] for line in lines if "train/lr/head" in line]
        for name in ("frontend", "backbone", "embedding", "head")
    }
    began = {name: sum(rate == 0 for rate in own) for name, own in rates.items()}
    assert began["head"] == 0 < began["embedding"] <= began["backbone"]
    assert began["backbone"] <= began["frontend"] < len(lines)
    last = [own[-1] for own in rates.values()]
    ratios = np.divide(last[:-1], last[1:])
    np.testing.assert_allclose(ratios, [0.5, 0.5, 1.0], rtol=1e-5)


def test_a_step_that_is_not_there_is_named(pretrained):
    with pytest.raises(ValueError, match=r"@77: no such step; .* holds \[0, "):
        checkpoint.load(f"{pretrained}@77")


def test_a_checkpoint_at_another_rate_is_refused(
    tmp_path, esc50, pretrained, monkeypatch
):
    config = tiny_finetune(esc50, "pretrained")
    config.init_from = str(pretrained)
    monkeypatch.setattr("finetune.start.SAMPLE_RATE", 8_000)
    with pytest.raises(ValueError, match="trained at 16000 Hz, expected 8000"):
        train(config, tmp_path / "run")
