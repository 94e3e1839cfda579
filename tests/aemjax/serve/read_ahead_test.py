import numpy as np

from aemjax.serve import read_ahead


def test_files_wait_within_bounds(tmp_path, monkeypatch):
    n_read = []

    def read_audio(path, *, sample_rate):
        n_read.append(path)
        return np.zeros(sample_rate, np.float32)

    monkeypatch.setattr(read_ahead, "read_audio", read_audio)
    files = [str(tmp_path / f"{i}") for i in range(40)]
    for file in files:
        with open(file, "wb") as empty:
            empty.truncate(1_000)
    for limit, most in ((10**9, 8), (3_500, 3), (10, 1)):
        monkeypatch.setattr(read_ahead, "AHEAD_BYTES", limit)
        n_read.clear()
        found = []
        sounds = read_ahead.read_ahead(files, sample_rate=160, threads=2, ahead=8)
        for sound in sounds:
            found.append(sound.path)
            assert len(n_read) <= len(found) + most
        assert found == files
