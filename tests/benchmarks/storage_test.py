from benchmarks import storage


def test_both_storages_are_compared(monkeypatch):
    for name, value in {"CLIPS": 20, "CLIP_S": 1, "CROPS_S": (1,), "BATCH": 2}.items():
        monkeypatch.setattr(storage, name, value)
    size, rate = storage.run(repeats=1)
    assert size["what"] == "bytes" and 0 < size["flac / int16"] < 1.1
    assert rate["what"] == "clips/s, 1 s" and rate["flac / int16"] > 0
