"""What a compiled step costs, read off HLO and off the compiler."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from aemjax.train import compiled, sharding
from aemjax.train.compiled import Cost, batch_shapes, count_collectives


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%x = f32[10,3]{1,0} all-reduce(%y), channel_id=1", ("all-reduce", 120)),
        ("ROOT %x = bf16[] all-reduce(%y)", ("all-reduce", 2)),
        (
            "%x = (f32[4]{0}, s32[2]{0}, pred[3]{0}) all-reduce(%a, %b, %c)",
            ("all-reduce", 27),
        ),
        ("%x = f32[8]{0:T(128)S(1)} all-reduce-done(%s)", ("all-reduce", 32)),
        ("%x = f8e4m3fn[6] all-gather(%y), dimensions={0}", ("all-gather", 6)),
        ("%x = s4[6] collective-permute(%y)", ("collective-permute", 3)),
        ("%x = u8[2,0] ragged-all-to-all(%y)", ("ragged-all-to-all", 0)),
    ],
)
def test_one_line(line, expected):
    kind, size = expected
    assert count_collectives(f"HloModule m\n  {line}\n") == {kind: (1, size)}


def test_an_asynchronous_pair_counts_once_and_by_its_result():
    hlo = """
  %s = (f32[2]{0}, f32[16]{0}) all-gather-start(%x), dimensions={0}
  %d = f32[16]{0} all-gather-done(%s)
  %r = f32[4]{0} all-reduce-start(%y)
  %q = f32[4]{0} all-reduce-done(%r)
  %z = f32[4]{0} all-reduce(%q)
"""
    expected = {"all-gather": (1, 64), "all-reduce": (2, 32)}
    assert count_collectives(hlo) == expected


def test_names_and_operands_are_no_collectives():
    hlo = """
  %all-reduce.3 = f32[4]{0} add(%all-gather.1, %y)
  %x = f32[4]{0} fusion(%all-reduce.3), calls=%all-to-all
"""
    assert count_collectives(hlo) == {}


@pytest.fixture(scope="module")
def product():
    """ "b 32" @ "32 16" over eight devices, its columns' sums and the whole product."""
    mesh = sharding.data_mesh()
    replicated, split = sharding.shardings(mesh)

    def compute(x, y):
        z = x @ y
        return z.sum(axis=0), z

    step = jax.jit(compute, in_shardings=(split, replicated), out_shardings=replicated)
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, 32), (32, 16))]
    return step.lower(*shapes).compile()


def test_the_cost_of_a_compiled_function(product):
    cost = compiled.cost(product)
    assert cost.arguments_bytes == 4 * (64 // 8 * 32 + 32 * 16)
    assert cost.collectives == {
        "all-reduce": (1, 4 * 16),
        "all-gather": (1, 4 * 64 * 16),
    }
    # A multiply-add is two, and there are the sums.
    assert 2 * 8 * 32 * 16 <= cost.flops <= 2.2 * 8 * 32 * 16
    assert cost.temporaries_bytes >= 0


def test_nothing_is_sent_where_nothing_is_shared():
    split = NamedSharding(sharding.data_mesh(), P("data"))
    shape = jax.ShapeDtypeStruct((64,), jnp.float32, sharding=split)
    assert compiled.cost(jax.jit(jnp.sin).lower(shape).compile()).collectives == {}


def test_the_table():
    cost = Cost(2**30, 2**29, 1.5e12, {"all-reduce": (3, 2**21)})
    assert cost.table().splitlines() == [
        "arguments         1.000 GiB per device",
        "temporaries       0.500 GiB per device",
        "operations        1.500 TFLOP per device",
        "all-reduce            3 a step, 2.000 MiB",
    ]
    assert "operations" not in Cost(1, 1, None, {}).table()


@pytest.mark.parametrize("taught", [False, True])
def test_shapes_are_those_of_the_pipeline(audioset, taught):
    from aemjax.data.pipeline import CropBatches
    from aemjax.data.prepared import PreparedSet

    class Teacher:
        def probabilities(self, rows):
            return np.zeros((len(rows), 12), np.float32), np.ones(len(rows), bool)

    data = PreparedSet(audioset)
    teacher = Teacher() if taught else None
    batch = CropBatches(data, np.arange(9), 4, 800, 0, teacher=teacher).read(0)
    found = {key: (value.shape, value.dtype) for key, value in batch.items()}
    shapes = batch_shapes(4, 800, 12, taught=taught)
    assert found == {key: (x.shape, x.dtype) for key, x in shapes.items()}


@pytest.mark.skipif(importlib.util.find_spec("libtpu"), reason="jax[tpu] is installed")
def test_without_libtpu_it_says_what_to_install():
    with pytest.raises(ValueError) as caught:
        compiled.tpu_mesh("v5e:4x4")
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot compile for TPU 'v5e:4x4'" in message
    assert "pip install 'aemjax[tpu]'" in message
