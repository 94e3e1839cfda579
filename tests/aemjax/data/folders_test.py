"""Folders here and elsewhere: what is found in them, and what is said of failures."""

import os
import sys
from pathlib import Path

import pytest
from upath import UPath

from aemjax.data import folders


def test_a_path_holds_wherever_a_worker_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folders.as_path("sets/esc50") == tmp_path / "sets" / "esc50"
    assert folders.as_path(tmp_path) == tmp_path
    assert not folders.is_remote(folders.as_path("sets"))
    assert folders.as_path("memory://a/b") == UPath("memory://a/b")
    assert folders.is_remote(folders.as_path("memory://a/b"))


def test_a_file_system_whose_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ValueError, match="^gs://mine/set: .*install gcsfs"):
        folders.as_path("gs://mine/set")


def test_a_path_that_does_not_say_all():
    """Only its text goes to the workers, and that is hdfs:///sets, of another host."""
    message = (
        r"hdfs://host:8020/sets: \{'host': 'host', 'port': 8020\} would not reach the "
        "workers, which are told hdfs:///sets; "
    )
    with pytest.raises(ValueError, match=message):
        folders.as_path("hdfs://host:8020/sets")


@pytest.mark.parametrize("where", ["here", "memory"])
def test_files_below(tmp_path, where):
    root = tmp_path if where == "here" else UPath("memory://below")
    for name in ("b/2.wav", "a.wav", "b/c/1.wav", "b/._2.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    expected = [root / name for name in ("a.wav", "b/2.wav", "b/c/1.wav")]
    assert [*map(folders.as_path, folders.files_below(root))] == expected
    assert folders.files_below(root / "nowhere") == []


def test_links_in_a_circle_end(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/1.wav").write_bytes(b"")
    for name in ("a", "b/c", "b/d"):  # 2**40 paths, if each was followed
        (tmp_path / name).symlink_to(tmp_path)
    assert folders.files_below(tmp_path) == [str(tmp_path / "b/1.wav")]


def test_a_folder_of_two_names_is_listed_under_both(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.wav").write_bytes(b"")
    (tmp_path / "a/to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b/to_a").symlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    names = "a/1 a/to_b/1 b/1 b/to_a/1 c/1 c/to_a/1".split()
    expected = [str(tmp_path / f"{name}.wav") for name in names]
    assert folders.files_below(tmp_path) == expected


def test_a_folder_that_vanishes_meanwhile_holds_nothing(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.wav").write_bytes(b"")
    about = os.stat

    def stat(path, **options):
        if path == str(tmp_path / "a"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return about(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert folders.files_below(tmp_path) == [str(tmp_path / "b/1.wav")]


def test_a_folder_that_cannot_be_listed_is_not_taken_for_empty(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    list_folder = os.scandir

    def scandir(path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="Permission denied: .*/a"):
        folders.files_below(tmp_path)


def test_open_file():
    file = UPath("memory://open/a.wav")
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"abc")
    opened = folders.open_file(str(file))
    assert (opened.read(), opened.name) == (b"abc", "memory://open/a.wav")
    assert folders.open_file("gone.wav") == "gone.wav"
    message = "memory://open/b.wav has gone since it was listed; fetch it"
    with pytest.raises(ValueError, match=message):
        folders.open_file("memory://open/b.wav")


def test_a_remote_file_that_cannot_be_read(monkeypatch):
    def fail(self):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(type(UPath("memory://a")), "read_bytes", fail)
    message = "^memory://open/a.wav cannot be read: Forbidden; check the network and"
    with pytest.raises(folders.UnreadableError, match=message):
        folders.open_file("memory://open/a.wav")


def test_only_a_lock_that_may_be_made_is(tmp_path):
    path = tmp_path / "lock"
    with pytest.raises(FileNotFoundError, match="lock"):
        with folders.lock_file(path, "held"):
            pass
    assert not path.exists()
    with folders.lock_file(path, "held", create=True):
        for create in (False, True):
            with pytest.raises(ValueError, match="^held$"):
                with folders.lock_file(path, "held", create=create):
                    pass
    path.write_text("kept")
    with folders.lock_file(path, "held"):
        pass
    assert path.read_text() == "kept"
