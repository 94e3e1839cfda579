"""A release holds the checkpoint's bits, and says what it is."""

import dataclasses
import json

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file

import aemjax
from aemjax.export import model_card, release
from aemjax.serve.release import read_network
from aemjax.train.card import Card
from aemjax.train.checkpoint import load

CARD = Card(
    {"name": "aemnet", "num_classes": 4, "width": 0.5, "head": None},
    16_000,
    ["crackle", "wheeze", "both", "normal"],
    False,
    "AS",
    "1234",
    {"dataset": "icbhi2017", "fingerprint": "abcd"},
)
PARAMS = {"head": {"dense": {"kernel": np.zeros((512, 4)), "bias": np.zeros(4)}}}


def test_a_folder_holds_the_checkpoint(pretrained, released):
    names = ["README.md", "card.json", "model.safetensors"]
    assert sorted(path.name for path in released.iterdir()) == names
    assert sorted(path.name for path in released.parent.iterdir()) == ["tiny"]
    weights, card, step = load(str(pretrained))
    arrays = load_file(released / "model.safetensors")
    flat = flatten_dict(weights)
    assert {"/".join(path) for path in flat} == set(arrays)
    assert {"params/backbone/conv3/kernel", "batch_stats/backbone/bn3/mean"} < {*arrays}
    for path, array in flat.items():
        found = arrays["/".join(path)]
        assert found.dtype == array.dtype == np.float32
        np.testing.assert_array_equal(found, array)
    about = json.loads((released / "card.json").read_text())
    assert about == dataclasses.asdict(card) | {
        "step": step,
        "aemjax": aemjax.__version__,
    }
    assert read_network(released)[1:] == (card, step)
    modes = {(released / name).stat().st_mode for name in names}
    assert len(modes) == 1  # weights are for whoever may read the card


def test_its_page_says_what_it_scored(pretrained, released):
    page = (released / "README.md").read_text()
    results = json.loads((pretrained / "results.json").read_text())
    card = json.loads((released / "card.json").read_text())
    assert card["step"] == results["best_step"]
    assert page.startswith("# tests.tiny:Backbone, audioset\n")
    assert f"| mAP | {results['best']['mAP']:.4f} |  |\n" in page
    assert f"| clips | {results['best']['clips']} |  |\n" in page
    assert f"Split: {results['split']}. Steps were compared by mAP on the" in page
    assert f"12 labels, several labels a clip: {', '.join(card['labels'][:10])}" in page
    assert ", and 2 more in card.json.\n" in page
    assert f"fingerprint `{card['data']['fingerprint']}`" in page
    assert "## Licence\n\nTo be stated by whoever publishes" in page
    assert "diagnostic" not in page


def test_what_stands_in_the_way_is_left_alone(pretrained, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(
        ValueError, match="out exists; remove it, or choose another --o"
    ):
        release.write(str(pretrained), out)
    out.rmdir()
    (tmp_path / "out.incomplete").mkdir()
    with pytest.raises(ValueError, match="it is being written now, or what did so was"):
        release.write(str(pretrained), out)
    (tmp_path / "out.incomplete").rmdir()
    with pytest.raises(ValueError, match="nowhere holds no checkpoints/"):
        release.write("nowhere", out)
    weights, card, step = load(str(pretrained))
    for params, message in (
        (
            {"head": weights["params"]["head"]},
            "1?[0-9] entries differ:\n  batch_stats|pa",
        ),
        (
            _with_bias(weights["params"], np.nan),
            "not finite, in params/head/dense/bias",
        ),
        (
            _with_bias(weights["params"], np.ones(3)),
            r"float32 \[3\] in the checkpoint, ",
        ),
    ):
        given = weights | {"params": params}
        monkeypatch.setattr(release, "load", lambda spec, x=given: (x, card, step))
        with pytest.raises(ValueError, match=message):
            release.write("run", out)
        assert not list(tmp_path.iterdir())
    (folder := tmp_path / "a" / "b").parent.mkdir()
    monkeypatch.setattr(release, "load", lambda spec: (weights, card, step))
    about = release.write("run", folder)
    assert about["folder"] == str(folder) and about["step"] == step
    assert about["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert f"has none of step {step}" in (folder / "README.md").read_text()


def _with_bias(params, value):
    dense = params["head"]["dense"]
    bias = np.broadcast_to(value, np.shape(value) or dense["bias"].shape)
    return params | {"head": {"dense": dense | {"bias": bias.astype(np.float32)}}}


def test_scores_of_a_fine_tuning(tmp_path):
    def run(fold, best, score):
        entries = {
            "best": {"step": best, "metrics": {"AS": score, "clips": 9}},
            "last": {"step": 50, "metrics": {"AS": 0.25, "clips": 9}},
        }
        return {"fold": fold, "seed": 3} | entries

    runs = [run(1, 20, 0.5), run(2, 30, 0.75)]
    runs[1]["best"]["intervals"] = {"AS": [0.7, 0.8]}
    results = {"split": "official train -> test", "selected_on": "10% held out"}
    (tmp_path / "results.json").write_text(json.dumps(results | {"runs": runs}))
    folder = tmp_path / "fold2_seed3"
    scores = model_card.find_scores(str(folder), CARD, 30)
    page = model_card.text(PARAMS, CARD, 30, scores, use="use", labels_in="card.json")
    assert "| AS | 0.7500 | 0.7000 to 0.8000 |\n| clips | 9 |  |\n" in page
    assert "Split: official train -> test, fold 2. Steps were compared by AS on" in page
    assert "4 labels, one label a clip: crackle, wheeze, both, normal.\n" in page
    assert "A classifier of audio at 16000 Hz, 2,052 parameters: width 0.5.\n" in page
    last = model_card.find_scores(str(folder), CARD, 50)
    assert last.metrics == {"AS": 0.25, "clips": 9} and not last.intervals
    assert model_card.find_scores(str(folder), CARD, 40) is None
    assert model_card.find_scores(str(tmp_path / "fold3_seed3"), CARD, 30) is None
    assert model_card.find_scores(str(folder / "elsewhere"), CARD, 30) is None


def test_scores_of_averaged_weights(tmp_path):
    both = {"mAP": 0.1, "ema_mAP": 0.2, "clips": 5}
    results = {"split": "a -> b", "steps": 8, "best_step": 4, "best": both, "last": {}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    averaged = dataclasses.replace(CARD, metric="ema_mAP")
    found = model_card.find_scores(str(tmp_path), averaged, 4)
    assert found.metrics == {"mAP": 0.2, "clips": 5}
    own = dataclasses.replace(CARD, metric="mAP")
    found = model_card.find_scores(str(tmp_path), own, 4)
    assert found.metrics == {"mAP": 0.1, "clips": 5}
    assert model_card.find_scores(str(tmp_path), own, 8) is None


@pytest.mark.parametrize("dataset", ["icbhi2017", "covid19sounds_task2"])
def test_breath_and_coughs_are_no_diagnosis(dataset):
    card = dataclasses.replace(CARD, data=CARD.data | {"dataset": dataset})
    page = model_card.text(PARAMS, card, 1, None, use="use", labels_in="card.json")
    assert "It is not a diagnostic device: nobody's health may be judged by its" in page
