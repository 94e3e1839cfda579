import numpy as np
import pytest
import soundfile as sf

from benchmarks import inference

TINY = {"name": "tests.tiny:Backbone", "frontend": "llf2", "num_classes": 3}


@pytest.mark.slow
def test_a_tiny_network_is_measured(monkeypatch):
    monkeypatch.setattr(inference, "NETWORKS", {"tiny": TINY})
    monkeypatch.setattr(inference, "FILES", {"tiny": (2, 4)})
    monkeypatch.setattr(inference, "DISTINCT", 3)
    rows = inference.run(repeats=1)
    *processes, few, more = rows
    assert [row["process"] for row in processes][0] == inference.FLOOR
    assert processes[0]["seconds / floor"] == 1
    assert processes[1]["peak MiB"] < processes[2]["peak MiB"]
    assert (few["files"], more["files"]) == (2, 4)
    for row in few, more:
        assert row["clips/s"] > 0 and row["embed / loop"] > 0
        assert row["largest difference"] < 1e-5


def test_memory_is_that_of_the_process_itself():
    held = np.ones(200 * 2**20, np.uint8)  # what this one has does not count
    _, small = inference.measure("pass")
    _, large = inference.measure("x = b'1' * (100 * 2**20)")
    assert held.all() and small < 100 and 95 < large - small < 110


def test_a_process_that_fails_is_told():
    with pytest.raises(ValueError, match="failed: no such thing"):
        inference.measure("raise SystemExit('no such thing')")


def test_a_row_by_hand():
    row = inference.summarize(
        "a", [(3, 10), (8, 30), (2, 20)], [(1, 5), (2, 5), (2, 5)]
    )
    assert row == {
        "process": "a",
        "seconds": 3,
        "peak MiB": 20,
        "seconds / floor": 3,
        "ratios": [3, 4, 1],
    }


def test_more_files_are_further_names(monkeypatch, tmp_path):
    monkeypatch.setattr(inference, "DISTINCT", 2)
    inference.write_sounds(tmp_path / "sounds", 5)
    files = sorted((tmp_path / "sounds").iterdir())
    assert len(files) == 5 and files[0].samefile(files[4])
    lengths = {sf.info(file).duration for file in files}
    assert len(lengths) == 2 and all(0.5 <= x <= 10 for x in lengths)
