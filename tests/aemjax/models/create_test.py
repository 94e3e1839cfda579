"""What `create` builds, and what it refuses."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.models import BLOCKS, EMBEDDING_DIM, create
from tests.aemjax.models.networks import (
    LLFS,
    NETWORKS,
    OWN,
    assert_outputs_close,
    clips,
    outputs_of,
    paths,
    random_variables,
    shapes_of,
)
from tests.jobs import ROOT

# Combinations.


@pytest.mark.parametrize("head", ["acnet", "aclnetx"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("frontend", LLFS)
def test_every_combination_builds(frontend, name, head):
    model = create(name, num_classes=5, frontend=frontend, head=head, width=0.5)
    (logits, aux), variables = outputs_of(model)
    assert logits.shape == (2, 5)
    assert aux["embedding"].shape == (2, EMBEDDING_DIM) == (2, 512)
    assert set(variables["params"]) <= set(BLOCKS)
    assert ("embedding" in variables["params"]) == (name != "aemnet")


@pytest.mark.parametrize(
    "own", [("frontend",), ("name",), ("head",), ("frontend", "name", "head")], ids=str
)
def test_own_blocks_by_import_path(own):
    parts = {"frontend": "llf1", "name": "aemnet_dw", "head": None}
    classes = {"frontend": "FrontEnd", "name": "Backbone", "head": "Head"}
    parts |= {part: f"{OWN}:{classes[part]}" for part in own}
    model = create(parts.pop("name"), num_classes=3, width=0.125, **parts)
    variables = random_variables(shapes_of(model))
    params = paths(variables["params"])
    assert ("frontend/levels/kernel" in params) == ("frontend" in own)
    assert ("backbone/mix/kernel" in params) == ("name" in own)
    assert ("head/scores/kernel" in params) == ("head" in own)
    assert params["embedding/bias"].shape == (512,)
    if "name" in own:  # `width` reaches it
        assert params["embedding/kernel"].shape == (4, 512)
    if len(own) < 3:
        logits, aux = outputs_of(model)[0]
        assert logits.shape == (2, 3) and aux["embedding"].shape == (2, 512)
        return
    logits, aux = model.apply(variables, clips(480))
    assert np.isfinite(logits).all() and aux["embedding"].shape == (2, 512)
    padded = jnp.concatenate([clips(480), 100 * clips(320)], axis=1)
    got = model.apply(variables, padded, jnp.array([480, 480]))
    assert_outputs_close(got, {"logits": logits, **aux}, atol=1e-5)


def test_the_guide_shows_a_front_end_that_works(tmp_path, monkeypatch):
    guide = (ROOT / "docs" / "models.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", guide, re.M | re.S)
    (tmp_path / "mine.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    model = create("aemnet_dw", num_classes=3, width=0.125, frontend="mine:Levels")
    variables = random_variables(shapes_of(model))
    one = model.apply(variables, clips(480))[0]
    assert one.shape == (2, 3)
    padded = jnp.concatenate([clips(480), 100 * clips(320)], axis=1)
    same = model.apply(variables, padded, jnp.array([480, 480]))[0]
    np.testing.assert_allclose(same, one, atol=1e-5)


# Errors.


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            dict(name="vgg19"),
            r"unknown model 'vgg19'; known: \['aemnet', 'aemnet_dw', 'aemresnet'\]",
        ),
        (
            dict(frontend="llf3"),
            r"unknown front end 'llf3'; known: \['llf-fast', 'llf1', 'llf2'\], four",
        ),
        (dict(frontend="33,16,5"), "unknown front end '33,16,5'; .*'K1,S1,K2,S2'"),
        (dict(frontend="33,16,5,0"), "unknown front end '33,16,5,0'"),
        (dict(head="mlp"), r"unknown head 'mlp'; known: \['aclnetx', 'acnet'\]"),
        (
            dict(dtype="float16"),
            r"unknown dtype 'float16'; known: \['bfloat16', 'float32', 'float64'\]",
        ),
        (dict(num_classes=0), "num_classes is 0, a head needs at least 1"),
        (dict(dropout=1.0), "dropout is 1.0, expected 0 <= dropout < 1"),
        (dict(dropout=-0.1), "dropout is -0.1, expected 0 <= dropout < 1"),
        (dict(dropout=float("nan")), "dropout is nan, expected 0 <= dropout < 1"),
        (dict(name=f"{OWN}:function"), r"own_blocks:function.*flax\.linen\.Module cla"),
        (dict(head=f"{OWN}:NOT_A_MODULE"), r"NOT_A_MODULE' is 3, expected a flax\.lin"),
        (dict(frontend="pathlib:Path"), r"Path.*expected a flax\.linen\.Module class"),
        (
            dict(frontend=f"{OWN}:Missing"),
            "cannot import .*own_blocks:Missing.*no attr",
        ),
        (dict(head="no_such_package:Head"), "cannot import 'no_such_package:Head': No"),
        (dict(head=".relative:Head"), r"cannot import '\.relative:Head'"),
        (dict(head=":Head"), "cannot import ':Head'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_bad_arguments_raise(kwargs, message):
    with pytest.raises(ValueError, match=message):
        create(**dict(name="aemnet", num_classes=4) | kwargs)


@pytest.mark.parametrize(
    ("name", "width"),
    [("aemnet", 0.3), ("aemnet_dw", 0.01), ("aemresnet", 0.0), ("aemnet", -1.0)],
)
def test_bad_width_raises(name, width):
    model = create(name, num_classes=4, width=width)
    message = rf"width {width} makes \d+ channels .*choose a multiple of 1/32"
    with pytest.raises(ValueError, match=message):
        shapes_of(model)


@pytest.mark.parametrize("frontend", ["33,16,5,3", "33,16,5,20", "33,7,5,1"])
def test_strides_that_do_not_divide_a_frame_raise(frontend):
    model = create("aemnet", num_classes=4, frontend=frontend, width=0.25)
    with pytest.raises(ValueError, match="does not divide the 160 samples of a 10 ms"):
        shapes_of(model)


@pytest.mark.parametrize("frontend", LLFS)
def test_audio_shorter_than_a_frame_raises(frontend):
    model = create("aemresnet", num_classes=4, frontend=frontend, width=0.25)
    with pytest.raises(ValueError, match="audio has 159 samples, a frame needs 160"):
        shapes_of(model, 159)
    assert outputs_of(model, 160)[0][0].shape == (2, 4)
