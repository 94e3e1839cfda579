"""The field that is read off a block is what a NaN in its input reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.models import create, receptive
from aemjax.models.aemnet import parts
from aemjax.models.frontends import by_name
from aemjax.models.receptive import Field, field_of
from tests.aemjax.models.networks import quick_jit, random_variables


def apply(module):
    return lambda x, weights: module.apply(weights, x, None, train=False)[0]


def variables_of(module, x):
    return jax.eval_shape(
        lambda x: module.init(jax.random.key(0), x, train=False), jnp.asarray(x)
    )


def assert_reached(module, inputs, places):
    """A NaN at each of the places reaches just the outputs that the field says.

    Returns:
      The field.
    """
    clean = np.random.default_rng(0).normal(size=inputs).astype(np.float32)[None]
    shapes = variables_of(module, clean)
    field = field_of(apply(module), clean, shapes, name="it")
    probes = np.repeat(clean, len(places), axis=0)
    for probe, place in zip(probes, places, strict=True):
        probe[place] = np.nan
    outputs = quick_jit(apply(module))(probes, random_variables(shapes))
    reached = np.isnan(outputs).any(axis=tuple(range(2, outputs.ndim)))  # probe f
    first = np.arange(reached.shape[1]) * field.stride
    for place, found in zip(places, reached, strict=True):
        sees = (first + field.low <= place) & (place <= first + field.high)
        np.testing.assert_array_equal(found, sees, err_msg=f"{place}")
    return field


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aemnet", Field(32, -61, 92)),
        ("aemnet_dw", Field(32, -61, 92)),
        ("aemresnet", Field(16, -108, 108)),
    ],
)
def test_of_each_backbone(name, expected):
    model = create(name, num_classes=7, width=1 / 32)
    _, backbone, _ = parts(model)
    # Every place within a stride, in the middle and where padding is near.
    places = (0, 40, *range(128, 160), 319)
    assert assert_reached(backbone, (320, 128, 1), places) == expected
    assert expected.size == {32: 154, 16: 217}[expected.stride]
    assert expected.look_ahead == {32: 61, 16: 93}[expected.stride]


@pytest.mark.parametrize(
    ("frontend", "expected"),
    [
        ("llf1", Field(160, -48, 176)),
        ("llf2", Field(160, -12, 156)),
        ("llf-fast", Field(160, -80, 224)),
        ("10,5,8,8", Field(160, -19, 145)),
    ],
)
def test_of_each_front_end(frontend, expected):
    module = by_name(frontend)(dtype=jnp.float32)
    places = (0, *range(400, 560), 1_279)
    assert assert_reached(module, (1_280,), places) == expected


def test_one_after_another():
    llf, hlf = Field(160, -48, 176), Field(16, -108, 108)
    assert hlf.after(llf) == Field(2_560, -108 * 160 - 48, 108 * 160 + 176)
    assert Field(4, -1, 1).look_ahead == 0


@pytest.mark.parametrize(
    ("name", "numerics"),
    [("aemnet", "folded"), ("aemnet_dw", "int8"), ("aemresnet", "int8")],
)
def test_numerics_see_as_much(name, numerics):
    image = np.zeros((1, 64, 128, 1), np.float32)
    fields = []
    for own in ("float", numerics):
        model = create(name, num_classes=7, width=1 / 32, numerics=own)
        _, backbone, _ = parts(model)
        shapes = variables_of(backbone, image)
        fields.append(field_of(apply(backbone), image, shapes, name=name))
    assert fields[0] == fields[1]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x - x.mean(axis=1, keepdims=True), "a sum or maximum over the wh"),
        (lambda x: jnp.cumsum(x, axis=1), "through `cumsum`"),
        (lambda x: x[:, ::-1], "through `rev`"),
        (lambda x: x.reshape(1, -1, 2), "through `reshape`"),
        (lambda x: x[:, :1] + x, "through `slice`"),
        (lambda x: jax.lax.map(lambda row: row, x), "through `scan`"),
        (lambda x: x.transpose(0, 2, 1), "it cannot be streamed: time is not axis 1"),
        (lambda x: jnp.zeros((1, 8)), "it cannot be streamed: time is not axis 1"),
        (lambda x: jnp.einsum("btc,bsc->bts", x, x), "through `dot_general`"),
    ],
)
def test_what_may_see_everything_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        field_of(function, np.zeros((1, 8, 3), np.float32), name="it")


def test_what_acts_on_each_frame_sees_it_alone():
    def function(x):  # b f c
        x = jnp.tanh(x @ jnp.ones((3, 4))) * jnp.arange(4.0)[None, None]
        return jax.jit(jax.nn.softplus)(x[..., None].squeeze(-1).max(axis=2))

    x = np.zeros((1, 8, 3), np.float32)
    assert field_of(function, x, name="it") == Field()
    assert field_of(lambda x: x[None].transpose(1, 2, 0, 3), x, name="it") == Field()
    padded = field_of(lambda x: jnp.pad(x, ((0, 0), (3, 0), (0, 0))), x, name="it")
    assert padded == Field(1, -3, -3)


def test_sizes_by_hand():
    assert receptive.Field(1, -2, 2).size == 5
