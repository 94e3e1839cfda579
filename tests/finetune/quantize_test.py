"""Going on from a run in integers."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from aemjax.compress.folding import fold
from aemjax.models import create
from aemjax.train import checkpoint
from finetune.train import train
from tests.jobs import tiny_finetune


@pytest.fixture(scope="module")
def before(tmp_path_factory, esc50):
    """A fine-tuning of fold 1, pruned by half."""
    folder = tmp_path_factory.mktemp("runs")
    config = tiny_finetune(esc50, "scratch")
    train(config, folder / "dense")
    config.prune.update(run=str(folder / "dense"), sparsity=0.5, start="run")
    train(config, folder / "pruned")
    return folder / "pruned"


def config_of(esc50, before):
    config = tiny_finetune(esc50, "scratch")
    config.quantize.run = str(before)
    config.train.ema_decay = 0.5
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory, esc50, before):
    folder = tmp_path_factory.mktemp("runs") / "int8"
    train(config_of(esc50, before), folder)
    return folder / "fold1_seed0"


def kernels(params):
    flat = flatten_dict(params)
    return {path: np.asarray(x) for path, x in flat.items() if path[-1] == "kernel"}


def test_it_begins_with_the_folded_network(folder, before):
    begun, card, _ = checkpoint.load(f"{folder}@0")
    assert card.model["numerics"] == "int8"
    expected = fold(checkpoint.load(f"{before}/fold1_seed0")[0])
    found = flatten_dict(begun["params"])
    for path, x in flatten_dict(expected).items():
        np.testing.assert_array_equal(found.pop(path), x, err_msg=str(path))
    assert not found
    assert {float(x) for x in flatten_dict(begun["batch_stats"]).values()} == {0.0}


def test_what_was_pruned_stays_zero_and_what_was_not_trains(folder):
    begun, trained, averaged = (
        kernels(weights["params"])
        for weights in (
            checkpoint.load(f"{folder}@0")[0],
            checkpoint.load(f"{folder}@last")[0],
            checkpoint.Checkpoints(folder, read_only=True).load_weights(
                checkpoint.load(f"{folder}@last")[2], "ema"
            ),
        )
    )
    zeros = sum(int((x == 0).sum()) for x in begun.values())
    total = sum(x.size for x in begun.values())
    assert 0.4 < zeros / total < 0.6
    for path, x in begun.items():
        np.testing.assert_array_equal(trained[path][x == 0], 0)
        np.testing.assert_array_equal(averaged[path][x == 0], 0)
        assert (trained[path] != x).any()


def test_ranges_were_seen(folder):
    weights, card, _ = checkpoint.load(f"{folder}@last")
    limits = flatten_dict(weights["batch_stats"])
    assert ("frontend", "conv1_in", "limit") in limits
    assert min(float(x) for x in limits.values()) > 0
    create(**card.model)  # and it can be built again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantize.run": "nowhere"}, "nowhere has no results.json; is the run finis"),
        ({"data.split_seed": 3}, "divided its data in another way; 1 entries differ"),
        ({"init_from": "x"}, "pruned is gone on from, not init_from, x; leave one"),
        ({"prune.run": "x", "prune.sparsity": 0.5}, "prune first, then quantise"),
        ({"model.width": 0.5}, "the checkpoint does not fit the model"),
        ({"model.frontend": "log_mel"}, "'log_mel' knows of no numerics 'int8'"),
        ({"model.dtype": "bfloat16"}, "bfloat16 holds no steps of int8 kernels; choo"),
        ({"optimizer.lr_fraction": 0.0}, "embedder would be frozen at first: the rang"),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(
    esc50, before, tmp_path, change, message
):
    config = config_of(esc50, before)
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nor_is_what_is_integers_already(esc50, before, folder, tmp_path):
    config = config_of(esc50, folder.parent)
    with pytest.raises(ValueError, match="no BatchNorm to fold: was that done already"):
        train(config, tmp_path / "run")
