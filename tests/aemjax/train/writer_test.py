import errno
import io
import json

import pytest
from upath import UPath

from aemjax.train import writer


@pytest.fixture(params=["local", "bucket"])
def folder(request, tmp_path):
    if request.param == "local":
        return tmp_path
    folder = UPath(f"memory://bucket/{tmp_path.name}")
    folder.mkdir(parents=True)
    return folder


def test_lines_are_there_after_a_flush_and_events_at_the_end(folder):
    with writer.open_writer(str(folder)) as out:
        out.write(1, {"train/loss": 0.5})
        out.write(2, {"train/loss": 0.25})
        out.flush()
        assert writer.read(str(folder)) == [
            {"step": 1, "train/loss": 0.5},
            {"step": 2, "train/loss": 0.25},
        ]
        out.write(3, {"train/loss": 0.125})
    assert [line["step"] for line in writer.read(str(folder))] == [1, 2, 3]
    (events,) = (p for p in folder.iterdir() if p.name.startswith("events."))
    assert events.read_bytes().count(b"train/loss") == 3


def test_a_resumed_run_drops_what_came_after_its_checkpoint(folder):
    with writer.open_writer(str(folder)) as out:
        for step in (1, 2, 3):
            out.write(step, {"train/loss": float(step)})
    with writer.open_writer(str(folder), start_step=2) as out:
        out.write(3, {"train/loss": 30.0})
    assert writer.read(str(folder)) == [
        {"step": 1, "train/loss": 1.0},
        {"step": 2, "train/loss": 2.0},
        {"step": 3, "train/loss": 30.0},
    ]


def test_a_line_cut_short_is_left_out(folder):
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 1}) + '\n{"step": 2, "tr')
    assert writer.read(str(folder)) == [{"step": 1}]


def test_other_processes_write_nothing(folder, monkeypatch):
    monkeypatch.setattr(writer.jax, "process_index", lambda: 1)
    with writer.open_writer(str(folder)) as out:
        out.write(1, {"train/loss": 0.5})
        out.flush()
    assert not list(folder.iterdir())


class Full(io.StringIO):
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    with writer.open_writer(tmp_path) as out:
        out._file.close()
        monkeypatch.setattr(out, "_file", Full())
        with pytest.raises(OSError, match="cannot write .*metrics.jsonl: .*free space"):
            out.write(1, {"train/loss": 0.5})
