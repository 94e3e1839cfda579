"""Preparations that end early: killed, out of disk, or with other arguments."""

import errno
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aemjax.data import assemble as module
from aemjax.data import prepare as module_of_prepare
from aemjax.data import runners
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from tests.aemjax.data.made import noise, shards

REPOSITORY = Path(__file__).parents[3]


def python(code, *arguments, **environment):
    """Starts Python; its standard error, which tells of progress, is a pipe."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def esc50_set(tmp_path_factory, esc50_at):
    folder = tmp_path_factory.mktemp("sets")
    prepare("esc50", esc50_at(folder / "in"), folder / "esc50", clips_per_shard=3)
    return folder / "esc50"


PREPARE = """
import sys
from aemjax.data.prepare import prepare
source, out, workers = sys.argv[1:]
prepare("esc50", source, out, clips_per_shard=3, workers=int(workers))
"""
# Every Python process that finds it imports it: workers, too.
SITECUSTOMIZE = """
import builtins, time
open = builtins.open
def wait(path, *arguments, **options):
    if str(path).endswith("2-102-B-7.wav"):
        time.sleep(3_600)
    return open(path, *arguments, **options)
builtins.open = wait
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path, esc50_at, esc50_set):
    source, out = esc50_at(tmp_path / "in"), tmp_path / "out"
    partial = tmp_path / "out.incomplete"
    # The worker that comes to one of the clips waits for ever.
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    process = python(PREPARE, source, out, 2, PYTHONPATH=str(tmp_path))
    while not (finished := {path.stem for path in partial.glob("*-of-00010.json")}):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    try:  # Ends when every holder of standard error has ended, so the workers as well.
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert not out.exists()
    finished |= {path.stem for path in partial.glob("*-of-00010.json")}
    assert finished < set(shards(esc50_set))

    before = {name: (partial / name).stat() for name in finished}
    prepare("esc50", source, out, clips_per_shard=3)
    assert shards(out) == shards(esc50_set)
    for name, stat in before.items():
        after = (out / name).stat()
        assert (after.st_ino, after.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)
    assert {path.name for path in out.iterdir()} == {
        path.name for path in esc50_set.iterdir()
    }
    assert not partial.exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"clips_per_shard": 4}])
def test_work_begun_with_other_arguments_is_not_lost(tmp_path, esc50_at, change):
    source, out = esc50_at(tmp_path / "in"), tmp_path / "out"
    bad = source / "audio" / "2-102-B-7.wav"
    audio = bad.read_bytes()
    bad.write_bytes(b"")
    with pytest.raises(ValueError, match="1 clips cannot be used"):
        prepare("esc50", source, out, clips_per_shard=3)
    bad.write_bytes(audio)
    partial = tmp_path / "out.incomplete"
    before = {path.name: path.stat().st_mtime_ns for path in partial.iterdir()}
    with pytest.raises(
        ValueError, match="out.incomplete was begun with other arguments"
    ):
        prepare("esc50", source, out, **({"clips_per_shard": 3} | change))
    assert {p.name: p.stat().st_mtime_ns for p in partial.iterdir()} == before
    shutil.rmtree(partial)
    prepare("esc50", source, out, **({"clips_per_shard": 3} | change))
    assert len(PreparedSet(out)) == 30


def test_a_repaired_clip_is_read_again(tmp_path, save):
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(9):
        save(source / "dog" / f"{i}.wav", noise(800, seed=i))
    good = (source / "dog" / "4.wav").read_bytes()
    (source / "dog" / "4.wav").write_bytes(b"")
    with pytest.raises(
        ValueError, match="Repair them, or .* run the same command again"
    ):
        prepare("manifest", source, out, clips_per_shard=3)
    kept = {p: p.stat().st_ino for p in tmp_path.glob("out.incomplete/*-of-00003.json")}
    assert len(kept) == 2
    (source / "dog" / "4.wav").write_bytes(good)
    prepare("manifest", source, out, clips_per_shard=3)
    prepare("manifest", source, tmp_path / "whole", clips_per_shard=3)
    assert shards(out) == shards(tmp_path / "whole")
    assert (out / "index.parquet").read_bytes() == (
        tmp_path / "whole" / "index.parquet"
    ).read_bytes()


def test_killed_between_the_last_two_steps(tmp_path, save, monkeypatch):
    save(tmp_path / "in" / "dog" / "a.wav", noise(800))
    with monkeypatch.context() as patch:
        patch.setattr("aemjax.data.prepare._close", lambda folder: {})
        prepare("manifest", tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "plan.json").is_file()
    with pytest.raises(ValueError, match="out was begun with other arguments, or"):
        prepare("manifest", tmp_path / "in", tmp_path / "out", seed=1)
    assert (tmp_path / "out" / "plan.json").is_file()
    assert prepare("manifest", tmp_path / "in", tmp_path / "out")["kept"] == 1
    assert not list((tmp_path / "out").glob("*clips.json"))
    with pytest.raises(ValueError, match="out exists; remove it"):
        prepare("manifest", tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("step", ["_plan_shards", "_close"])
def test_two_runs_at_once(tmp_path, save, monkeypatch, step):
    """The second begins within the first: before its work, or when OUT has its name."""
    save(tmp_path / "in" / "dog" / "a.wav", noise(800))
    run = functools.partial(prepare, "manifest", tmp_path / "in", tmp_path / "out")
    refused, original = [], getattr(module_of_prepare, step)

    def twice(*arguments):
        message = "another process prepares .*out; wait for it, or stop it"
        with pytest.raises(ValueError, match=message) as refusal:
            run(seed=len(refused))  # whatever its arguments
        refused.append(refusal)
        return original(*arguments)

    monkeypatch.setattr(module_of_prepare, step, twice)
    assert run()["kept"] == 1
    assert len(refused) == 1 and len(PreparedSet(tmp_path / "out")) == 1


def test_a_run_that_failed_holds_no_lock(tmp_path, save):
    source, out = tmp_path / "in", tmp_path / "out"
    save(source / "dog" / "a.wav", noise(1))
    for _ in range(2):
        with pytest.raises(ValueError, match="1 clips cannot be used"):
            prepare("manifest", source, out)
    save(source / "dog" / "a.wav", noise(800))
    assert prepare("manifest", source, out, workers=2)["kept"] == 1


def test_a_source_that_changed_is_noticed(tmp_path, save):
    source, out = tmp_path / "in", tmp_path / "out"
    save(source / "dog" / "a.wav", noise(800))
    (source / "dog" / "b.wav").touch()
    with pytest.raises(ValueError, match="dog/b.wav"):
        prepare("manifest", source, out)
    (source / "dog" / "b.wav").unlink()
    with pytest.raises(ValueError, match="the files in the source have changed"):
        prepare("manifest", source, out)
    shutil.rmtree(tmp_path / "out.incomplete")
    assert prepare("manifest", source, out)["kept"] == 1


FULL_DISK = """
import resource, sys
from aemjax import cli
source, out, workers = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
cli.main(["prepare", "manifest", "--source", source, "--out", out, "--workers", workers])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk(tmp_path, save, table, workers):
    """The kernel refuses to write more than 150 kB to a file, as it would elsewhere."""
    save(tmp_path / "short.wav", noise(800))
    save(tmp_path / "long.wav", noise(100_000))
    rows = [("short.wav", "a", "first"), ("long.wav", "a", "second")]
    source = table(tmp_path / "set.csv", ("path", "label", "split"), rows)
    out, partial = tmp_path / "out", tmp_path / "out.incomplete"
    process = python(FULL_DISK, source, out, workers)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith(
        f"error: cannot write {partial}/manifest-second.array_record-00000-of-00001: "
        "write() failed: File too large"
    )
    assert "make room and run the same command again: " in stderr
    assert not out.exists()
    first = "manifest-first.array_record-00000-of-00001"
    # With two workers, the second split may fail before the first is written.
    planned = {f"{path.name}.clips.json" for path in partial.glob("*-00001")}
    planned |= {
        f"{name}.clips.json" for name in (first, first.replace("first", "second"))
    }
    allowed = {"plan.json", "packed", first, f"{first}.json", *planned}
    left = {path.name for path in partial.iterdir()}
    assert left == allowed if workers == 1 else left <= allowed
    prepare("manifest", source, out)
    assert len(PreparedSet(out)) == 2


def test_a_disk_that_fills_at_the_index(tmp_path, save, monkeypatch):
    save(tmp_path / "in" / "dog" / "a.wav", noise(800))
    out = tmp_path / "out"

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.pq, "write_table", full)
        with pytest.raises(OSError, match="cannot write .*incomplete.*No space left"):
            prepare("manifest", tmp_path / "in", out)
    assert not out.exists()
    assert prepare("manifest", tmp_path / "in", out)["kept"] == 1


def test_a_killed_worker(tmp_path, save, monkeypatch):
    monkeypatch.setattr(runners, "_end_with_parent", functools.partial(os._exit, 1))
    save(tmp_path / "in" / "dog" / "a.wav", noise(800))
    with pytest.raises(OSError, match="a worker was killed, .* with fewer --workers"):
        prepare("manifest", tmp_path / "in", tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()


KILLED = """
import sys
from aemjax.data.prepare import prepare
prepare("manifest", sys.argv[1], sys.argv[2], clips_per_shard=2, workers=2)
"""


@pytest.mark.slow
def test_killed_at_three_random_moments(tmp_path, save):
    """Every byte is that of the unbroken run."""
    rng = np.random.default_rng()
    for i in range(200):
        save(tmp_path / "in" / "ab"[i % 2] / f"{i}.wav", noise(8000, seed=i))
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare("manifest", tmp_path / "in", whole, clips_per_shard=2)
    moments = sorted(rng.choice(np.arange(1, 95), 3, replace=False).tolist())
    for moment in moments:
        process = python(KILLED, tmp_path / "in", out)
        while len(list(tmp_path.glob("out.incomplete/*-of-00100.json"))) < moment:
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert not out.exists(), f"ended before the kill at {moment} of {moments}"
    prepare("manifest", tmp_path / "in", out, clips_per_shard=2, workers=2)
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in out.iterdir())
    for name in names:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), moments
