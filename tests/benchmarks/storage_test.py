import time

from benchmarks import storage


def test_both_storages_are_compared(monkeypatch):
    sizes = {"CLIPS": 20, "CLIP_S": 1, "CROPS_S": (1,), "BATCH": 2, "BATCHES": 5}
    for name, value in sizes.items():
        monkeypatch.setattr(storage, name, value)
    size, rate = storage.run(repeats=1)
    assert size["what"] == "bytes" and 0 < size["flac / int16"] < 1.1
    assert rate["what"] == "clips/s, 1 s" and rate["flac / int16"] > 0


def test_what_is_read_ahead_is_timed(monkeypatch):
    monkeypatch.setattr(storage, "CropBatches", lambda *_, seed: None)
    monkeypatch.setattr(storage, "BATCHES", 5)

    def batches(crops, *, threads):
        time.sleep(0.05)  # with the first of them, others are read
        yield from range(5)

    monkeypatch.setattr(storage, "train_batches", batches)
    assert storage._seconds([], 1) >= 0.05
