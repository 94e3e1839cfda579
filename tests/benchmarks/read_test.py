import math
import sys

import numpy as np
import pytest

from benchmarks import read


class Loader:
    """PyTorch's, in so far as it is used, in this process."""

    def __init__(self, dataset, *, batch_size, num_workers, shuffle, **options):
        assert (num_workers, shuffle, options["drop_last"]) == (2, True, True)
        self.dataset, self.batch_size = dataset, batch_size

    def __iter__(self):
        order = np.random.default_rng(0).permutation(len(self.dataset)).tolist()
        for i in range(0, len(order) - self.batch_size + 1, self.batch_size):
            yield np.stack([self.dataset[j] for j in order[i : i + self.batch_size]])


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    sizes = {"CLIPS": 5, "CLIP_S": 2, "CROPS_S": (1, 2), "BATCH": 2}
    for name, value in (sizes | {"SECONDS": 0.01, "WARM_UP": 1}).items():
        monkeypatch.setattr(read, name, value)


def test_every_peer_is_compared(monkeypatch, capsys):
    monkeypatch.setattr(read, "_import_data_loader", lambda: Loader)
    rows = read.run(repeats=2)
    assert [(row["crop_s"], row["DataLoader over"]) for row in rows] == [
        (crop_s, name)
        for crop_s in (1, 2)
        for name in ("ArrayRecords", "OurReader", "Files", "OneFile")
    ]
    for row in rows:
        low, high = sorted(row["ratios"])
        assert 0 < low <= row["ours / theirs"] <= high < math.inf
        assert row["first reading / theirs"] > 0
    assert capsys.readouterr().out.count("ours / theirs = ") == 8


def test_all_read_the_same_clips(tmp_path):
    read._write(tmp_path)
    found = {
        peer.__name__: sorted(
            peer(tmp_path, 16_000).read(i, 100, 16_100).tobytes() for i in range(5)
        )
        for peer in read.PEERS
    }
    ours = next(read._ours(tmp_path, 32_000))
    assert {clip[100:16_100].tobytes() for clip in ours["audio"]} <= set(found["Files"])
    assert len(set(found["Files"])) == 5
    assert all(clips == found["Files"] for clips in found.values())
    dataset = read.OneFile(tmp_path, 16_000)
    assert {len(dataset[i]) for i in range(5) for _ in range(20)} == {16_000}


def test_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "torch.utils.data", None)
    with pytest.raises(ImportError, match="^PyTorch, .* not installed; `pip install t"):
        read.run(repeats=1)
