import pytest

from benchmarks import prepare


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, value in {"CLIPS": 2, "CLIP_S": 1, "MANY": 2}.items():
        monkeypatch.setattr(prepare, name, value)
    # The test process goes on with all of its cores.
    monkeypatch.setattr(prepare.os, "sched_setaffinity", lambda *_: None)


def test_every_peer_is_compared_and_memory_measured(monkeypatch):
    made = []

    def convert(files, folder):
        made.append(len(files))

    monkeypatch.setattr(prepare, "PEERS", {"python3, a stand-in": convert})
    *rows, memory = prepare.run(repeats=2)
    assert made == [2, 2]
    assert [row["peer"] for row in rows] == ["python3, a stand-in"]
    assert memory["clips"] == (2, 4)
    assert all(10 < megabytes < 1000 for megabytes in memory["peak memory, MB"])


def test_without_a_peer_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(prepare, "PEERS", {"no such program, a file": None})
    with pytest.raises(ImportError, match="it needs sox or ffmpeg"):
        prepare.run(repeats=1)
