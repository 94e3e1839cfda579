import math

import pytest

from aemjax.train.checkpoint import Checkpoints
from benchmarks import loop


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    sizes = {"CLASSES": 10, "CLIPS": 40, "CLIP_S": 0.5, "CROP_S": 0.1, "BATCH": 16}
    model = {"name": "tests.tiny:Backbone", "width": 0.125}
    for name, value in (sizes | {"MODEL": model}).items():
        monkeypatch.setattr(loop, name, value)


@pytest.mark.slow
def test_the_loop_and_its_saves_are_timed(monkeypatch, capsys):
    saved = []
    save = Checkpoints.save

    def count(self, state, card, metrics=None):
        saved.append(int(state.step))
        save(self, state, card, metrics)

    monkeypatch.setattr(Checkpoints, "save", count)
    (row,) = loop.run(repeats=1)
    # The first and the last step of either run, and the saves between them.
    assert saved == [0, 16, 0, 6, 12, 16]
    assert row["model"] == "tests.tiny:Backbone 0.125, 0.1 s, batch 16"
    assert row["loop / bare step - 1"] > -1
    saves = row["bare steps that a save takes"]
    assert math.isfinite(saves)
    assert row["saving every 500 steps / bare steps"] == pytest.approx(
        saves / 500, abs=1e-4
    )
    assert capsys.readouterr().out.count("\n") == len(row)
