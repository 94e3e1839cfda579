"""PyTorch's names for our weights, in files that are read as strictly as checkpoints."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from aemjax import cli, models
from aemjax.export import graph, pytorch_file
from aemjax.export.write import export_checkpoint
from aemjax.train.checkpoint import load
from tests.aemjax.models.networks import NETWORKS, random_variables, shapes_of

LABELS = ["bark", "rain", "café"]
NAMES = {
    "aemnet": {
        "frontend.conv1.weight": (64, 1, 33),
        "frontend.bn2.running_var": (128,),
        "backbone.conv4.weight": (16, 8, 3, 3),
        "backbone.bn11.weight": (512,),
        "backbone.bn11.num_batches_tracked": (),
        "head.dense.weight": (3, 512),
    },
    "aemnet_dw": {
        "backbone.conv3.depthwise.weight": (1, 1, 3, 3),
        "backbone.conv5.depthwise.weight": (16, 1, 3, 3),
        "backbone.conv5.depthwise_bn.running_mean": (16,),
        "backbone.conv5.pointwise.weight": (16, 16, 1, 1),
        "embedding.weight": (512, 128),
    },
    "aemresnet": {
        "backbone.bn3.bias": (16,),
        "backbone.block3.projection.weight": (32, 16, 1, 1),
        "backbone.block3.projection_bn.weight": (32,),
        "embedding.bias": (512,),
    },
}


def about(name, **options):
    return {"name": name, "num_classes": 3, "width": 0.25} | options


def variables_of(kwargs):
    return random_variables(shapes_of(models.create(**kwargs)))


def assert_same_bits(found, expected):
    found, expected = flatten_dict(found), flatten_dict(expected)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == array.dtype == np.float32
        assert found[key].shape == array.shape
        assert found[key].tobytes() == array.tobytes(), key


@pytest.fixture(scope="module")
def state():
    """Of an AemNet-DW."""
    return pytorch_file.to_state_dict(variables_of(about("aemnet_dw")))


@pytest.fixture
def file(state, tmp_path):
    """Writes that state dict, changed, as any program would."""

    def write(changes, metadata=None):
        changed = {k: x for k, x in (state | changes).items() if x is not None}
        save_file(changed, tmp_path / "file", metadata)
        return tmp_path / "file"

    return write


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in NETWORKS), ("aemnet", {"frontend": "mfcc40"})],
)
def test_a_round_trip_keeps_every_bit(name, options):
    variables = variables_of(about(name, **options))
    state = pytorch_file.to_state_dict(variables)
    assert len(state) == len(set(state)) > 40
    norms = [key for key in state if key.endswith("running_mean")]
    assert len(state) == len(jax.tree.leaves(variables)) + len(norms)
    assert all(array.flags.c_contiguous for array in state.values())
    assert_same_bits(pytorch_file.from_state_dict(state, variables), variables)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_pytorchs(name):
    state = pytorch_file.to_state_dict(variables_of(about(name)))
    for key, shape in NAMES[name].items():
        assert state[key].shape == shape
        tracked = key.endswith("num_batches_tracked")
        assert state[key].dtype == (np.int64 if tracked else np.float32)


def test_axes_keep_their_meaning():
    kernel = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    filters, matrix = kernel[0], kernel[0, 0]
    layers = {"image": kernel, "wave": filters, "dense": matrix}
    state = pytorch_file.to_state_dict(
        {"params": {name: {"kernel": array} for name, array in layers.items()}}
    )
    for frames, width, i, o in np.ndindex(kernel.shape):
        taken = kernel[frames, width, i, o]
        assert state["image.weight"][o, i, frames, width] == taken
        if not frames:
            assert state["wave.weight"][o, i, width] == taken
        if not frames and not width:
            assert state["dense.weight"][o, i] == taken


def test_what_pytorch_has_no_name_for_is_refused():
    with pytest.raises(ValueError, match="batch_stats/in/limit has no name in a PyT"):
        pytorch_file.to_state_dict({"batch_stats": {"in": {"limit": np.zeros(())}}})


def test_counts_of_batches_are_ignored(file):
    name = "backbone.conv3.depthwise_bn.num_batches_tracked"
    for count in (None, np.array(7), np.zeros((2,), np.float32)):
        pytorch_file.read(file({name: count}), about("aemnet_dw"))
    with pytest.raises(ValueError, match="conv3.num_batches_tracked: int64"):
        path = file({"backbone.conv3.num_batches_tracked": np.array(7)})
        pytorch_file.read(path, about("aemnet_dw"))


def test_all_that_does_not_fit_is_in_one_error(file):
    changes = {
        "embedding.bias": None,
        "module.embedding.bias": np.zeros(512, np.float32),
        "head.dense.weight": np.zeros((4, 512), np.float32),
        "head.dense.bias": np.zeros(3, np.float16),
    }
    with pytest.raises(ValueError, match="file does not fit the model; 4") as error:
        pytorch_file.read(file(changes), about("aemnet_dw"))
    assert str(error.value).splitlines()[1:] == [
        "  embedding.bias: absent in the file, float32 [512] in the model",
        "  head.dense.bias: float16 [3] in the file, float32 [3] in the model",
        "  head.dense.weight: float32 [4, 512] in the file, float32 [3, 512] in the model",
        "  module.embedding.bias: float32 [512] in the file, absent in the model",
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(file, state, value):
    mean = state["frontend.bn1.running_mean"].copy()
    mean[5] = value
    path = file({"frontend.bn1.running_mean": mean})
    with pytest.raises(ValueError, match="not finite, in frontend.bn1.running_mean$"):
        pytorch_file.read(path, about("aemnet_dw"))


def test_no_safetensors_file(tmp_path):
    path = tmp_path / "file"
    for content in (b"", b"PK\3\4 a zip, as torch.save makes them"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="file cannot be read as a safetensors fi"):
            pytorch_file.read(path, about("aemnet_dw"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pytorch_file.read(tmp_path / "nowhere", about("aemnet_dw"))


def test_a_run_is_written_and_comes_back(pretrained, tmp_path, capsys):
    path, out = tmp_path / "file", tmp_path / "run"
    cli.main(["export", str(pretrained), "--format=pytorch", f"--out={path}"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["file"] == str(path) and printed["bytes"] == path.stat().st_size
    assert printed["tensors"] == len(load_file(path))
    assert sorted(found.name for found in tmp_path.iterdir()) == ["file", "file.md"]
    weights, card, _ = load(str(pretrained))
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata.pop(pytorch_file.CARD)) == dataclasses.asdict(card)
    assert metadata == graph.read_network(str(pretrained)).metadata
    cli.main(["import", str(path), f"--out={out}"])
    assert json.loads(capsys.readouterr().out)["run"] == str(out)
    found, found_card, step = load(str(out))
    assert (found_card, step) == (card, 0)
    assert_same_bits(found, weights)


def test_a_file_of_someone_else_is_imported(file, tmp_path, state):
    path, out, labels = file({}), tmp_path / "run", tmp_path / "labels.txt"
    labels.write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    words = ["--model=aemnet_dw", "--width=0.25", f"--labels={labels}", "--multi-label"]
    cli.main(["import", str(path), f"--out={out}", *words])
    weights, card, step = load(str(out))
    assert step == 0 and (card.labels, card.multi_label) == (LABELS, True)
    assert card.sample_rate == 16_000 and card.metric == "mAP"
    assert card.model == about("aemnet_dw") | {
        key: card.model[key] for key in card.model.keys() - about("").keys()
    }
    assert card.model["frontend"] == "llf1"  # which fine-tuning compares
    models.create(**card.model)
    assert_same_bits(weights, pytorch_file.from_state_dict(state, weights))


def test_averaged_weights_are_imported_as_the_weights(file, tmp_path):
    card = pytorch_file.Card(
        about("aemnet_dw"), 16_000, LABELS, False, "ema_accuracy", "unknown", {}
    )
    path = file({}, {pytorch_file.CARD: json.dumps(dataclasses.asdict(card))})
    pytorch_file.import_file(path, tmp_path / "run")
    _, found, _ = load(str(tmp_path / "run"))
    assert found == dataclasses.replace(card, metric="accuracy")


def test_what_cannot_be_imported_is_refused(file, tmp_path):
    def refused(message, metadata=None, **options):
        with pytest.raises(ValueError, match=message):
            pytorch_file.import_file(file({}, metadata), tmp_path / "run", **options)
        assert not (tmp_path / "run").exists()

    model = {"name": "aemnet_dw", "width": 0.25}
    refused("does not say what it is: name its model", model=model)
    refused("does not say what it is: name its model", labels=LABELS)
    refused("label 4 of 4 is blank, expected", model=model, labels=[*LABELS, ""])
    refused("labels are there twice: rain", model=model, labels=[*LABELS, "rain"])
    refused(r"head.dense.bias: float32 \[3\] in the f", model=model, labels=["a", "b"])
    refused("unknown model 'nope'", model={"name": "nope"}, labels=LABELS)
    card = pytorch_file.Card(about("aemnet_dw"), 16_000, LABELS, False, "", "", {})
    ours = {pytorch_file.CARD: json.dumps(dataclasses.asdict(card))}
    refused("file says itself what it is; leave out its model", ours, model=model)
    refused("aemjax_card is not one of ours: Expecting", {pytorch_file.CARD: "{"})
    newer = dataclasses.asdict(card) | {"model": about("aemnet_dw", depth=3)}
    newer = {pytorch_file.CARD: json.dumps(newer)}
    refused("is not one of ours: got an unexpected keyword argument 'depth'", newer)
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="run exists; remove it, or choose another"):
        pytorch_file.import_file(file({}, ours), tmp_path / "run")


def test_what_cannot_be_exported_is_refused(pretrained, tmp_path, monkeypatch):
    path = tmp_path / "file"

    def refused(message, **options):
        with pytest.raises(ValueError, match=message):
            export_checkpoint(str(pretrained), path, format="pytorch", **options)

    refused("holds weights, which nothing is run on; leave", standardize=True)
    refused("leave out --standardize and --data", batches=[np.zeros((1, 160))])
    right = pytorch_file.save

    def damaged(state, *arguments):
        bias = state["head.dense.bias"]
        return right(state | {"head.dense.bias": np.nextafter(bias, 9)}, *arguments)

    monkeypatch.setattr(pytorch_file, "save", damaged)
    refused("params/head/dense/bias of .* is not what was read back")
    assert not list(tmp_path.iterdir())
    path.write_text("mine")
    refused("file exists; remove it, or choose another --out")
    assert path.read_text() == "mine"
