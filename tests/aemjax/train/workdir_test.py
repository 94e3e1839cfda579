import json
import os

import pytest
from upath import UPath

from aemjax.train import workdir

CONFIG = {"seed": 0, "data": {"path": "here", "crop_s": 1.0}, "sizes": (1, 2)}


@pytest.fixture(params=["local", "bucket"])
def folder(request, tmp_path):
    if request.param == "local":
        return tmp_path / "run"
    return UPath(f"memory://bucket/{tmp_path.name}/run")


def test_a_new_folder_holds_the_config_and_what_ran_it(folder):
    assert not workdir.open_workdir(str(folder), CONFIG)
    about = json.loads((folder / "config.json").read_text())
    assert about["config"] == {**CONFIG, "sizes": [1, 2]}
    assert about["versions"] == workdir.versions()
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_the_same_config_goes_on_until_there_are_results(folder):
    workdir.open_workdir(str(folder), CONFIG)
    moved = CONFIG | {"data": {"path": "there", "crop_s": 1.0}}
    assert not workdir.open_workdir(str(folder), moved)
    with pytest.raises(ValueError, match="has no results.json; is the run finished?"):
        workdir.read_results(str(folder))
    workdir.write_results(str(folder), {"mAP": 0.5})
    assert workdir.open_workdir(str(folder), CONFIG)
    commit = workdir.git_commit()
    assert workdir.read_results(str(folder)) == {"commit": commit, "mAP": 0.5}


def test_a_run_says_that_another_commit_goes_on(folder, caplog, monkeypatch):
    monkeypatch.setattr(workdir, "git_commit", lambda: "aaa")
    workdir.open_workdir(str(folder), CONFIG)
    monkeypatch.setattr(workdir, "git_commit", lambda: "bbb")
    workdir.open_workdir(str(folder), CONFIG)
    assert "was begun by commit aaa and goes on by bbb; its results name" in caplog.text
    workdir.write_results(str(folder), {})
    assert workdir.read_config(str(folder))["commit"] == "aaa"
    assert workdir.read_results(str(folder)) == {"commit": "bbb"}


def test_another_config_is_refused(folder):
    workdir.open_workdir(str(folder), CONFIG)
    with pytest.raises(ValueError, match="1 entries differ:\n  seed: 0 in its.*, 1 in"):
        workdir.open_workdir(str(folder), CONFIG | {"seed": 1})


def test_a_folder_that_holds_something_else_is_refused(folder):
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no config.json"):
        workdir.open_workdir(str(folder), CONFIG)


@pytest.mark.parametrize("theirs", [CONFIG, CONFIG | {"seed": 1}])
def test_of_two_that_begin_at_once_one_makes_the_folder(tmp_path, monkeypatch, theirs):
    link = os.link

    def a_moment_later(*paths):
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(os, "link", link)
            workdir.open_workdir(tmp_path / "run", theirs)
        link(*paths)

    monkeypatch.setattr(os, "link", a_moment_later)
    if theirs == CONFIG:
        assert not workdir.open_workdir(tmp_path / "run", CONFIG)
    else:
        with pytest.raises(ValueError, match="seed: 1 in its config.json, 0 in this"):
            workdir.open_workdir(tmp_path / "run", CONFIG)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
    assert workdir.read_config(tmp_path / "run")["config"]["seed"] == theirs["seed"]


def test_a_folder_is_made_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def refuse(*paths):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert not workdir.open_workdir(tmp_path / "run", CONFIG)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


@pytest.mark.parametrize("damaged", ["", "{", "\udcff", "[]", '{"config": {}}'])
def test_a_damaged_file_is_named(folder, damaged):
    workdir.open_workdir(str(folder), CONFIG)
    content = damaged.encode(errors="surrogateescape")
    (folder / "config.json").write_bytes(content)
    for read in (workdir.read_config, lambda f: workdir.open_workdir(f, CONFIG)):
        with pytest.raises(ValueError, match="config.json is damaged .*; restore the"):
            read(str(folder))
    assert (folder / "config.json").read_bytes() == content


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        workdir.open_workdir(tmp_path / "file" / "run", CONFIG)


def test_a_second_run_is_kept_out_where_there_are_locks(folder, caplog):
    workdir.open_workdir(str(folder), CONFIG)
    with workdir.locked(str(folder)):
        if isinstance(folder, UPath):
            assert "cannot be locked; start one run there at a time" in caplog.text
            return
        with pytest.raises(ValueError, match="another process is training in"):
            with workdir.locked(str(folder)):
                pass
    with workdir.locked(str(folder)):
        pass


def test_a_lock_leaves_no_empty_config(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json"):
        with workdir.locked(tmp_path):
            pass
    assert not list(tmp_path.iterdir())
