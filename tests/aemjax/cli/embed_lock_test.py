"""Two runs of `aemjax embed` on one result: the second is kept out."""

import os
import subprocess
import sys
from pathlib import Path

import aemjax
from aemjax.data import folders
from tests.aemjax.cli.conftest import run


def test_a_second_run_of_one_result_is_refused(network, clip, tmp_path, capsys):
    out = tmp_path / "new" / "out.npz"
    words = ["embed", clip, f"--model={network}", "-o", str(out)]
    with folders.locked(out):
        _, lines, code = run(capsys, *words)
        assert code == 1 and lines == [
            f"error: another process is writing {out}; wait for it, or choose another "
            "--out"
        ]
        assert os.listdir(out.parent) == ["out.npz.lock"]
        other = str(out.with_name("other.npz"))
        assert run(capsys, *words[:-1], other)[2] == 0
    assert run(capsys, *words)[2] == 0
    assert sorted(os.listdir(out.parent)) == ["other.npz", "out.npz"]


def test_the_lock_of_a_killed_run_is_free(network, clip, capsys):
    code = (
        "import fcntl, time; file = open('out.npz.lock', 'a'); "
        "fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); time.sleep(60)"
    )
    words = ["embed", clip, f"--model={network}", "-o", "out.npz"]
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1) as other:
        try:
            other.stdout.readline()
            _, lines, code = run(capsys, *words)
        finally:
            other.kill()
    assert code == 1 and "error: another process is writing out.npz; " in lines[0]
    assert os.path.exists("out.npz.lock")
    assert run(capsys, *words)[2] == 0
    assert sorted(os.listdir()) == [clip, "out.npz"]


def test_what_another_run_finished_meanwhile_is_kept(
    network, clip, monkeypatch, capsys
):
    load = aemjax.load

    def slow(*arguments, **options):
        Path("out.npz").write_text("another run's")
        return load(*arguments, **options)

    monkeypatch.setattr(aemjax, "load", slow, raising=False)
    words = ["embed", clip, f"--model={network}", "-o", "out.npz"]
    assert run(capsys, *words)[1] == [
        "error: out.npz exists; remove it, or choose another --out"
    ]
    assert Path("out.npz").read_text() == "another run's"
    assert sorted(os.listdir()) == [clip, "out.npz"]
