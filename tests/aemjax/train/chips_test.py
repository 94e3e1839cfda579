from unittest import mock

import jax
import pytest

from aemjax.train import chips


def device(kind, stats=None):
    found = mock.Mock(spec=jax.Device, device_kind=kind)
    found.memory_stats.return_value = stats
    return found


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v4", 275e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("TPU v6 lite", 918e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        # Not in the table, though the beginnings of their names are.
        ("NVIDIA L40", None),
        ("NVIDIA A1000 Laptop GPU", None),
        ("TPU v45", None),
        ("cpu", None),
    ],
)
def test_a_kind_is_the_longest_name_that_it_begins_with(kind, peak):
    assert chips.peak_flops(device(kind)) == peak


def test_peak_memory_is_what_a_device_says_of_it():
    assert chips.peak_memory_bytes(device("x", {"peak_bytes_in_use": 5})) == 5
    assert chips.peak_memory_bytes(device("x", {"bytes_in_use": 5})) is None
    assert chips.peak_memory_bytes(jax.devices()[0]) is None  # a CPU
