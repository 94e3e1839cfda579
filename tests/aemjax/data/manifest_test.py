"""What a set of one's own lists, and what is said of malformed ones."""

import shutil

import pytest
from upath import UPath

from aemjax.data import manifest
from aemjax.data.clips import Clip


def test_manifest_with_path_and_label(tmp_path, table):
    (tmp_path / "a.wav").touch()
    path = table(
        tmp_path / "set.csv", ("path", "label"), [("a.wav", "dog"), ("b.wav", "cat")]
    )
    listing = manifest.read(path)
    assert listing.label_names == ("cat", "dog")
    assert listing.clips == (
        Clip(id="a.wav", source=str(tmp_path / "a.wav"), labels=(1,)),
        Clip(id="b.wav", source=None, labels=(0,)),  # it does not exist
    )
    assert manifest.read(tmp_path) == listing


def test_manifest_with_every_column(tmp_path, table):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").touch()
    table(
        tmp_path / "set.csv",
        ("split", "fold", "group", "start_s", "end_s", "label", "path"),
        [
            ("train", "2", "anna", "0.5", "1.25", "dog; cat", "in/a.wav"),
            ("", "3.0", "", "", "2", "cat;cat;", "in/a.wav"),
        ],
    )
    source = str(tmp_path / "in" / "a.wav")
    assert manifest.read(tmp_path).clips == (
        Clip("in/a.wav@0.5-1.25", source, (0, 1), "train", 2, "anna", "", 0.5, 1.25),
        Clip("in/a.wav@None-2.0", source, (0,), "full", 3, "in/a.wav", "", None, 2.0),
    )


def test_rows_of_one_file_are_a_group(tmp_path, table):
    """Whole or a part, under whatever path; spaces around fields do not count."""
    for name in ("1.wav", "2.wav", "3.wav", "4.wav"):
        (tmp_path / name).touch()
    rows = [
        ("1.wav", "dog", "2", "", ""),
        ("1.wav ", "dog", "1", "", "0.5"),
        ("./1.wav", "dog", " 1 ", " ", ""),
        (f"{tmp_path}/1.wav", "dog", "1", "", ""),
        ("2.wav", "dog", "1", "p0", ""),
        ("3.wav", "dog", "2", "p0 ", ""),
        ("4.wav", "dog", "2", "", ""),
    ]
    table(tmp_path / "set.csv", ("path", "label", "fold", "group", "end_s"), rows)
    clips = manifest.read(tmp_path).clips
    assert [clip.group for clip in clips] == [*["1.wav"] * 4, "p0", "p0", ""]
    assert clips[1].id == "1.wav@None-0.5"
    assert all(clip.source for clip in clips)


@pytest.mark.parametrize(
    "columns, row, message",
    [
        (("path", "class"), ("a", "dog"), r"set.csv lacks the columns \['label'\]; it"),
        (("path", "label"), ("a", " ; "), "set.csv:2: no label for 'a'"),
        (("path", "label"), ("a",), r"set.csv:2: no fields \['label'\]"),
        (
            ("path", "label", "fold"),
            ("a", "b", "one"),
            "csv:2: fold is 'one', not a num",
        ),
        (
            ("path", "label", "fold"),
            ("a", "b", "1.5"),
            "2: fold is '1.5', expected a who",
        ),
        (("path", "label", "fold"), ("a", "b", "nan"), "2: fold is 'nan', expected a"),
        (("path", "label", "start_s"), ("a", "b", "1:20"), "2: start_s is '1:20', not"),
        (
            ("path", "label", "end_s"),
            ("a", "b", "-1"),
            "2: end_s is -1.0, expected sec",
        ),
        (
            ("path", "label", "end_s"),
            ("a", "b", "nan"),
            "2: end_s is nan, expected sec",
        ),
        (("path", "label", "split"), ("a", "b", "x/y"), "2: split is 'x/y', expected"),
    ],
)
def test_manifest_malformed(tmp_path, table, columns, row, message):
    table(tmp_path / "set.csv", columns, [row])
    with pytest.raises(ValueError, match=message):
        manifest.read(tmp_path)


@pytest.mark.parametrize(
    "column, near",
    [
        *[("folds", "fold"), ("Fold", "fold"), ("fold ", "fold"), ("FLOD", "fold")],
        *[("groups", "group"), ("group_id", "group"), ("Splits", "split")],
        *[("start", "start_s"), ("start_ms", "start_s"), ("end", "end_s")],
    ],
)
def test_a_misspelt_column(tmp_path, table, column, near):
    path = table(tmp_path / "set.csv", ("path", "label", column), [("a", "b", "1")])
    message = f"set.csv has the column '{column}', expected '{near}'; name it so, or"
    with pytest.raises(ValueError, match=message):
        manifest.read(path)


def test_columns_of_ones_own(tmp_path, table):
    """Also near one that is there."""
    own = ("notes", "duration", "source", "species", "site", "label_id", "splits", "")
    path = table(
        tmp_path / "set.csv",
        ("path", "label", "split", *own),
        [("a", "b", "train", *own)],
    )
    assert manifest.read(path).clips == (Clip("a", None, (0,), "train"),)


def test_folds_count_from_1(tmp_path, table):
    rows = [("a", "dog", 1), ("b", "dog", 0), ("c", "cat", "")]
    path = table(tmp_path / "set.csv", ("path", "label", "fold"), rows)
    with pytest.raises(ValueError, match="csv:3: fold is '0', folds count from 1; add"):
        manifest.read(path)
    table(path, ("path", "label", "fold"), [rows[0], rows[2]])
    assert [clip.fold for clip in manifest.read(path).clips] == [1, 0]


def test_manifest_without_rows(tmp_path, table):
    table(tmp_path / "set.csv", ("path", "label"), [])
    with pytest.raises(ValueError, match="set.csv lists no clips"):
        manifest.read(tmp_path)


def test_manifest_with_two_tables(tmp_path, table):
    for name in ("train.csv", "test.csv"):
        table(tmp_path / name, ("path", "label"), [("a.wav", "dog")])
    with pytest.raises(ValueError, match=r"\['test.csv', 'train.csv'\]; name the one"):
        manifest.read(tmp_path)
    assert len(manifest.read(tmp_path / "test.csv").clips) == 1


def test_folder_per_class(tmp_path):
    for name in (
        "dog/b.wav",
        "dog/deep/a.FLAC",
        "cat/a.wav",
        ".git/a.wav",
        "dog/a.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = manifest.read(tmp_path)
    assert listing.label_names == ("cat", "dog")
    assert {clip.id: clip.labels for clip in listing.clips} == {
        "cat/a.wav": (0,),
        "dog/b.wav": (1,),
        "dog/deep/a.FLAC": (1,),
    }
    shutil.rmtree(tmp_path / "dog")
    shutil.rmtree(tmp_path / "cat")
    with pytest.raises(ValueError, match="holds neither a csv with path,label nor"):
        manifest.read(tmp_path)


def test_class_folders_in_folders_of_splits(tmp_path):
    for name in ("train/dog/a.wav", "train/cat/deep/b.wav", "test/dog/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = manifest.read(tmp_path)
    assert listing.label_names == ("cat", "dog")
    assert [(clip.id, clip.split, clip.labels) for clip in listing.clips] == [
        ("test/dog/a.wav", "test", (1,)),
        ("train/cat/deep/b.wav", "train", (0,)),
        ("train/dog/a.wav", "train", (1,)),
    ]
    (tmp_path / "test/c.wav").touch()
    with pytest.raises(ValueError, match="test/c.wav is of no class: .* per split"):
        manifest.read(tmp_path)
    (tmp_path / "owl").mkdir()  # then they are classes
    (tmp_path / "owl/a.wav").touch()
    assert manifest.read(tmp_path).label_names == ("owl", "test", "train")


def test_what_macos_leaves_is_no_clip(tmp_path):
    """Nor is a folder of it, or one without audio, a class."""
    for name in ("dog/a.wav", "dog/._a.wav", "__MACOSX/dog/._a.wav", "docs/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = manifest.read(tmp_path)
    assert listing.label_names == ("dog",)
    assert [clip.id for clip in listing.clips] == ["dog/a.wav"]
    (tmp_path / "set.csv").write_text("path,label\ndog/a.wav,cat\n")
    (tmp_path / "._set.csv").write_bytes(b"\0\5\x16\7")
    assert manifest.read(tmp_path).label_names == ("cat",)


def test_a_remote_folder():
    root = UPath("memory://classes")
    for name in ("dog/deep/a.wav", "cat/a.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    listing = manifest.read(root)
    assert listing.label_names == ("cat", "dog")
    assert listing.clips[1].id == "dog/deep/a.wav"
    assert UPath(listing.clips[1].source) == root / "dog/deep/a.wav"
    (root / "set.csv").write_text("path,label\n./cat/a.wav,owl\ncat/a.wav,dog\n")
    assert [clip.group for clip in manifest.read(root).clips] == ["cat/a.wav"] * 2
