import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax import cli, models
from aemjax.compress import pruning, size
from aemjax.train.masks import apply_masks

PARAMS = {
    "frontend": {"bn": {"scale": np.ones(2), "bias": np.ones(2)}},
    "backbone": {
        "conv3": {"kernel": np.array([[1.0, 0.0], [2.0, 0.0]])},
        "bn3": {"scale": np.ones(2), "bias": np.array([0.0, 1.0])},
        "block": {
            "pointwise": {"kernel": np.ones((1, 3))},
            "pointwise_bn": {"scale": np.ones(3), "bias": np.ones(3)},
        },
    },
    "head": {"dense": {"kernel": np.ones((3, 2)), "bias": np.ones(2)}},
}


def test_counts_of_each_layer():
    found = size.measure(PARAMS)
    layer = size.LayerSize
    assert found == {
        # Without a convolution before it there is nothing to fold it into.
        "frontend/bn": layer(4, 4, 0, 0, 4),
        "backbone/conv3": layer(8, 5, 4, 2, 2),
        "backbone/block/pointwise": layer(9, 9, 3, 3, 3),
        "head/dense": layer(8, 8, 6, 6, 2),
    }
    whole = size.total(found)
    assert whole == layer(29, 26, 13, 11, 11)
    assert whole.published_bytes(4) == 104
    assert whole.stored_bytes(1) == 11 + 44


@pytest.fixture(scope="module")
def published():
    """AemNet-DW 0.5 of chapter 5 of Galindo-Meza 2021, with no value zero."""
    model = models.create("aemnet_dw", num_classes=10, frontend="llf2", width=0.5)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 16_000)))
    )
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.uniform(1, 2, x.shape), shapes["params"])


def pruned(params, sparsity):
    zeros = pruning.count_zeros(params, sparsity)
    masks = pruning.magnitude_masks(params, zeros=zeros)
    return size.total(size.measure(apply_masks(params, masks)))


def test_the_published_sizes(published):
    dense, ticket = pruned(published, 0), pruned(published, 0.6)
    kib = [x.published_bytes(width) / 1024 for x, width in ((dense, 4), (ticket, 4))]
    assert kib == pytest.approx([1246.457, 498.582], abs=1e-3)
    assert ticket.nonzero == 127_637
    assert ticket.published_bytes(1) / 1024 == pytest.approx(124.645, abs=1e-3)
    # Without the kernels there are 4,300 values: 1,889 channels' two, and 522 biases.
    assert ticket.biases == 1_889 + 522
    assert ticket.stored_bytes(1) / 1024 == pytest.approx(129.864, abs=1e-3)


def test_a_budget_is_met_by_no_zero_too_many(published):
    layers = size.measure(published)
    budget = size.parse_budget("128KiB")
    found = size.sparsity_for(layers, budget, width=1)
    assert pruned(published, found["published"]).published_bytes(1) == budget
    assert pruned(published, found["stored"]).stored_bytes(1) == budget
    assert found == pytest.approx({"published": 0.5892, "stored": 0.6060}, abs=1e-4)
    none = size.sparsity_for(layers, 10**9, width=4)
    assert none == {"published": 0, "stored": 0}


def test_a_budget_that_what_stays_exceeds_is_refused(published):
    with pytest.raises(ValueError, match="budget is 9,000 bytes, but by the stored"):
        size.sparsity_for(size.measure(published), 9_000, width=1)


@pytest.mark.parametrize("text", ["128KB", "128", "KiB", "-1KiB", "0KiB", "1e3B"])
def test_a_budget_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=f"budget is '{text}', expected a number and"):
        size.parse_budget(text)


def test_budgets_are_bytes():
    found = [size.parse_budget(text) for text in ("128KiB", "1.5 MiB", "100B")]
    assert found == [131_072, 1_572_864, 100]


def test_the_sparsity_that_is_printed_meets_the_budget(published, capsys, monkeypatch):
    weights = {"params": published}, SimpleNamespace(model={}), 0
    monkeypatch.setattr("aemjax.train.checkpoint.load", lambda spec: weights)
    cli.main(["size", "run", "--budget", "128KiB"])
    *_, first, second = capsys.readouterr().out.splitlines()
    one, other = (pruned(published, float(x.split()[-3])) for x in (first, second))
    assert 131_072 - 2 <= one.published_bytes(1) <= 131_072
    assert 131_072 - 2 <= other.stored_bytes(1) <= 131_072


def test_the_command_prints_both_counts(pretrained, capsys):
    cli.main(["size", str(pretrained), "--dtype", "float32", "--budget", "60KiB"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("layer", "parameters", "non-zero"),
        *("published", "bytes", "stored", "bytes"),
    ]
    assert lines[-3].startswith("total") and "frontend/conv2" in lines[4] + lines[5]
    assert lines[-1].startswith("60KiB by the stored count: sparsity 0.")
    cli.main(["size", str(pretrained), "--json"])
    about = json.loads(capsys.readouterr().out)
    of_layers = [layer["stored_bytes"] for layer in about["layers"].values()]
    assert about["stored_bytes"] == sum(of_layers)
    assert "sparsity" not in about


def test_files_are_printed_beside(pretrained, capsys, tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(bytes(5_000))
    cli.main(["size", str(pretrained), "--file", str(file)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{file}: 5,000 bytes, ") and last.endswith(" deflated")
    assert int(last.split()[-2]) < 50
    cli.main(["size", str(pretrained), "--file", str(file), "--json"])
    assert json.loads(capsys.readouterr().out)["files"][str(file)][0] == 5_000


def test_what_integers_round_to_zero_is_not_counted(published, capsys, monkeypatch):
    kernel = published["backbone"]["conv11"]["pointwise"]["kernel"]
    few = np.full_like(kernel, 1e-6)
    few[0, 0, 0] = 1.0
    params = {"head": {"dense": {"kernel": few[0, 0]}}}
    card = SimpleNamespace(model={"numerics": "int8"})
    monkeypatch.setattr(
        "aemjax.train.checkpoint.load", lambda _: ({"params": params}, card, 0)
    )
    cli.main(["size", "run", "--json"])
    assert json.loads(capsys.readouterr().out)["nonzero"] == kernel.shape[-1]
