"""Fine-tuning under masks: the lottery ticket, and plain magnitude pruning."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from aemjax.compress import pruning
from aemjax.train import checkpoint
from finetune import compressed
from finetune.train import train
from tests.jobs import tiny_finetune


@pytest.fixture(scope="module")
def dense(tmp_path_factory, esc50, pretrained):
    """A fine-tuning of fold 1 with two seeds, side by side."""
    folder = tmp_path_factory.mktemp("runs") / "dense"
    config = tiny_finetune(esc50, "pretrained")
    config.init_from = str(pretrained)
    config.optimizer.lr_fraction = 1.0
    config.seeds = 2
    config.train.runs_at_once = 2
    train(config, folder)
    return folder


def pruned(dense, esc50, folder, *, init_from="", lr_fraction=1.0, **prune):
    config = tiny_finetune(esc50, "scratch")
    config.optimizer.lr_fraction = lr_fraction
    config.init_from = init_from
    config.prune.update(run=str(dense), sparsity=0.5, **prune)
    config.train.ema_decay = 0.5
    train(config, folder)


def kernels(params):
    flat = flatten_dict(params)
    return {path: x for path, x in flat.items() if path[-1] == "kernel"}


def left(spec):
    params = checkpoint.load(spec)[0]["params"]
    return {path: x != 0 for path, x in kernels(params).items()}


def test_a_ticket_is_rewound_and_trains_under_its_masks(
    dense, esc50, pretrained, tmp_path
):
    folder = tmp_path / "run"
    pruned(dense, esc50, folder, init_from=f"{pretrained}@0")
    trained = checkpoint.load(str(dense / "fold1_seed0"))[0]["params"]
    zeros = pruning.count_zeros(trained, 0.5)
    masks = flatten_dict(pruning.magnitude_masks(trained, zeros=zeros))
    start = checkpoint.load(f"{folder}/fold1_seed0@0")[0]
    random = checkpoint.load(f"{pretrained}@0")[0]
    for path, kernel in kernels(start["params"]).items():
        if path[0] != "head":
            source = flatten_dict(random["params"])[path]
            np.testing.assert_array_equal(kernel, np.where(masks[path], source, 0))
    # The head, which pretraining lacked, begins where fine-tuning did.
    begun = checkpoint.load(f"{dense}/fold1_seed0@0")[0]["params"]["head"]
    for path, x in flatten_dict(begun).items():
        mask = masks.get(("head", *path), True)
        found = flatten_dict(start["params"]["head"])[path]
        np.testing.assert_array_equal(found, np.where(mask, x, 0))
    jax.tree.map(
        np.testing.assert_array_equal, start["batch_stats"], random["batch_stats"]
    )
    for path, found in left(f"{folder}/fold1_seed0@last").items():
        np.testing.assert_array_equal(found, masks[path])


def test_layers_that_hardly_anything_is_left_of_are_named(caplog):
    thin, whole = np.zeros((20, 50), bool), np.ones((3, 3), bool)
    thin[0, :9] = True
    masks = {"embedding": {"kernel": thin}, "head": {"dense": {"kernel": whole}}}
    compressed.warn_of_thin_layers(masks)
    assert "embedding/kernel 9 of 1000: little" in caplog.text
    assert "prune.scope=layer" in caplog.text
    assert "head" not in caplog.text
    caplog.clear()
    compressed.warn_of_thin_layers(masks | {"embedding": {"kernel": thin[:1]}})
    assert not caplog.text


@pytest.mark.slow
def test_each_seed_has_masks_of_its_own_side_by_side(dense, esc50, tmp_path):
    config = tiny_finetune(esc50, "scratch")
    config.prune.update(run=str(dense), sparsity=0.5)
    config.seeds = 2
    config.train.runs_at_once = 2
    train(config, tmp_path / "both")
    for seed in (0, 1):
        trained = checkpoint.load(f"{dense}/fold1_seed{seed}")[0]["params"]
        zeros = pruning.count_zeros(trained, 0.5)
        masks = flatten_dict(pruning.magnitude_masks(trained, zeros=zeros))
        for path, found in left(f"{tmp_path}/both/fold1_seed{seed}@last").items():
            np.testing.assert_array_equal(found, masks[path])


@pytest.mark.parametrize("start", ["run", "0"])
def test_or_goes_on_from_the_run(dense, esc50, tmp_path, start):
    options = {"start": start, "scope": "layer", "lr_fraction": 0.1}
    pruned(dense, esc50, tmp_path / "run", **options)
    spec = f"{dense}/fold1_seed0" + ("@0" if start == "0" else "")
    source = flatten_dict(checkpoint.load(spec)[0]["params"])
    begun = flatten_dict(checkpoint.load(f"{tmp_path}/run/fold1_seed0@0")[0]["params"])
    trained = checkpoint.load(f"{dense}/fold1_seed0")[0]["params"]
    zeros = pruning.count_zeros(trained, 0.5)
    masks = flatten_dict(pruning.magnitude_masks(trained, zeros=zeros, scope="layer"))
    for path, found in begun.items():
        kept = masks.get(path, True)
        np.testing.assert_array_equal(found, np.where(kept, source[path], 0))
    for path, found in left(f"{tmp_path}/run/fold1_seed0@last").items():
        np.testing.assert_array_equal(found, masks[path])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prune.run": ""}, "sparsity is 0.5, but there is no prune.run"),
        ({"prune.run": "nowhere"}, "nowhere has no results.json; is the run finis"),
        ({"prune.sparsity": 0.0}, "and prune.sparsity 0: give the share"),
        ({"data.split_seed": 3}, "divided its data in another way; 1 entries differ"),
        ({"data.fold": 2}, "dense/fold2_seed0 holds no checkpoints/"),
        ({"prune.start": "run", "init_from": "x"}, "gone on from, not init_from, x"),
        ({"prune.sparsity": 1.0}, "only the .* of kernels are pruned"),
        ({"prune.scope": "row"}, "prune.scope is 'row'; known: global, layer"),
        ({"prune.start": "best"}, "expected 'init_from', 'run' or a step"),
        ({"prune.start": "7"}, "fold1_seed0@7: no such step"),
        ({"model.width": 0.5}, "the checkpoint does not fit the model"),
    ],
)
def test_what_cannot_be_pruned_is_refused(dense, esc50, tmp_path, change, message):
    config = tiny_finetune(esc50, "scratch")
    config.prune.update(run=str(dense), sparsity=0.5)
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
