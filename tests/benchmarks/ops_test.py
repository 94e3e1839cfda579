import math

import pytest

from benchmarks import ops


@pytest.mark.parametrize(("cases", "count"), [("_on_a_cpu", 12), ("_on_a_gpu", 6)])
def test_every_operation_is_compared(monkeypatch, cases, count):
    monkeypatch.setattr(ops, "_on_a_cpu", getattr(ops, cases))
    monkeypatch.setattr(ops, "IMAGE", (2, 4, 6, 8))
    monkeypatch.setattr(ops, "RESNET_IMAGE", (2, 4, 6, 64))
    monkeypatch.setattr(ops, "SMALL_FEATURES", (2, 6, 8, 1))
    monkeypatch.setattr(ops, "LARGE_IMAGE", (2, 8, 6, 4))
    monkeypatch.setattr(ops, "FEATURES", (2, 8, 6, 1))
    monkeypatch.setattr(ops, "AUDIO", (2, 800, 1))
    rows = ops.run(repeats=1)
    assert len(rows) == count
    assert all(math.isfinite(row["plain / ours"]) for row in rows)
