"""One shard as a task, which a cluster may run twice at once."""

import contextlib
import json

import numpy as np
import pytest

from aemjax.data import folders, shards
from aemjax.data.clips import Clip

PLAN = {"sample_rate": 16_000, "storage": "int16", "labels": ["a"]}


class Killed(Exception):
    pass


@pytest.fixture
def planned(tmp_path, save):
    """folder name -> a shard of eight clips, planned in that folder."""
    rng = np.random.default_rng(0)
    for i in range(8):
        save(tmp_path / f"{i}.wav", rng.uniform(-0.5, 0.5, 800))

    def make(name):
        shard = tmp_path / name / "set-full.array_record-00000-of-00001"
        shard.parent.mkdir()
        (shard.parent / shards.PLAN).write_text(
            json.dumps(PLAN | {"keeps_silence": False})
        )
        clips = [Clip(str(i), str(tmp_path / f"{i}.wav"), (0,)) for i in range(8)]
        shards.write_clips(shards.clips_path(shard), clips)
        return shard

    return make


@pytest.mark.parametrize("ends", [3, 8])
def test_a_task_that_runs_twice_at_once(planned, monkeypatch, ends):
    """The second begins within the first, and is killed, or ends before the first."""
    alone, shard = planned("alone"), planned("twice")
    shards.write_shard(str(alone))
    example, calls = shards._example, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            with contextlib.suppress(Killed):
                shards.write_shard(str(shard))
        elif len(calls) == 5 + ends and ends < 8:
            raise Killed
        return example(*arguments)

    monkeypatch.setattr(shards, "_example", interrupted)
    shards.write_shard(str(shard))
    assert len(calls) == 8 + ends
    assert shard.read_bytes() == alone.read_bytes()
    assert shards.read_part(shard) == shards.read_part(alone)
    assert not list(shard.parent.rglob("*.tmp"))


def test_a_failed_read_is_not_taken_for_a_failed_write(planned, monkeypatch):
    """Nor for a bad clip, which would be left out."""
    shard = planned("set")

    def fail(path):
        raise folders.UnreadableError(f"{path} cannot be read: Forbidden")

    monkeypatch.setattr(folders, "open_file", fail)
    with pytest.raises(OSError, match=r"^/.*\d.wav cannot be read: Forbidden$"):
        shards.write_shard(str(shard))
    assert not shards.part_path(shard).exists()


def test_a_folder_that_vanished_is_written_to(tmp_path):
    path = tmp_path / "gone" / "deep" / "x"
    message = (
        rf"cannot write {path}: .*No such file.* GB are free in {tmp_path}\); make"
    )
    with pytest.raises(OSError, match=message):
        with shards.writing(path):
            path.write_text("")
