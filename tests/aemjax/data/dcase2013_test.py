"""What the reader of DCASE 2013 lists, and what it says of malformed folders."""

import pytest

from aemjax.data import dcase2013
from aemjax.data.clips import Clip

NAMES = ("bus01", "bus02", "park10", "tubestation01")


@pytest.fixture
def dcase_dir(tmp_path):
    """Both sets under official names, which are the same in both."""
    folder = tmp_path / "dcase"
    for name in ("scenes_stereo", "scenes_stereo_testset"):
        (folder / name).mkdir(parents=True)
        for stem in NAMES:
            (folder / name / f"{stem}.wav").touch()
    return folder


def scenes(listing, split):
    return {
        clip.id.removeprefix(f"{split}_"): listing.label_names[clip.labels[0]]
        for clip in listing.clips
        if clip.split == split
    }


def test_lists_both_sets(dcase_dir):
    listing = dcase2013.read(dcase_dir)
    assert listing.label_names == ("bus", "park", "tubestation")
    assert listing.clips[2] == Clip(
        id="train_park10",
        source=str(dcase_dir / "scenes_stereo" / "park10.wav"),
        labels=(1,),
        split="train",
    )
    assert listing.clips[5] == Clip(
        id="test_bus02",
        source=str(dcase_dir / "scenes_stereo_testset" / "bus02.wav"),
        labels=(0,),
        split="test",
    )
    assert len(listing.clips) == 8


def test_development_set_alone(dcase_dir):
    want = dcase2013.read(dcase_dir).clips[:4]
    for file in (dcase_dir / "scenes_stereo_testset").iterdir():
        file.unlink()
    assert dcase2013.read(dcase_dir).clips == want
    assert dcase2013.read(dcase_dir / "scenes_stereo").clips == want


def test_archives_unpacked_into_folders_of_their_own(dcase_dir):
    for name in ("scenes_stereo", "scenes_stereo_testset"):
        (dcase_dir / name).rename(dcase_dir / "inner")
        (dcase_dir / name).mkdir()
        (dcase_dir / "inner").rename(dcase_dir / name / name)
    listing = dcase2013.read(dcase_dir.parent)
    assert [clip.split for clip in listing.clips] == ["train"] * 4 + ["test"] * 4


@pytest.mark.parametrize("where", [".", "other"])
@pytest.mark.parametrize(
    "key",
    [
        "a.wav,bus\nb.wav,tubestation\nc.wav,park\n",
        "file,scene\r\na.wav,bus\r\nb.wav,tubestation\r\nc.wav,park\r\n",
        "\ufefffold,given,name\nfold1,a.wav,bus04.wav\nfold1,b.wav,tubestation02.wav\n"
        "fold2,c.wav,park01.wav\n\n",
        "tubestation, b\nbus, a\npark, c\n",
    ],
)
def test_key_with_or_without_header(dcase_dir, key, where):
    test = dcase_dir / "scenes_stereo_testset"
    test.rename(dcase_dir / "other")
    for old, new in zip(NAMES, "abc", strict=False):
        (dcase_dir / "other" / f"{old}.wav").rename(dcase_dir / "other" / f"{new}.wav")
    (dcase_dir / "other" / "c.wav").unlink()
    (dcase_dir / where / "key.csv").write_bytes(key.encode())
    listing = dcase2013.read(dcase_dir)
    want = {"a": "bus", "b": "tubestation", "c": "park"}
    assert scenes(listing, "test") == want | {"tubestation01": "tubestation"}
    assert [c.id for c in listing.clips if c.source is None] == ["test_c"]


@pytest.mark.parametrize(
    "key, message",
    [
        ("", "the scene of 1 files is not clear, the first: .*testset/a.wav; expected"),
        (
            "file,scene\na.wav,sea\n",
            r"row 2: \['a.wav', 'sea'\] names the scenes \[\],",
        ),
        ("bus01.wav,park\na.wav,bus", r"row 1: .* names the scenes \['bus', 'park'\]"),
        ("a.wav,bus\na.wav,park", "row 2: 'a' is 'park' here and 'bus' in an earlier"),
    ],
)
def test_unclear_key(dcase_dir, key, message):
    (dcase_dir / "scenes_stereo_testset" / "a.wav").touch()
    (dcase_dir / "key.csv").write_text(key)
    with pytest.raises(ValueError, match=message):
        dcase2013.read(dcase_dir)


def test_a_key_that_is_not_utf_8(dcase_dir):
    (dcase_dir / "key.csv").write_bytes(b"bus01.wav,caf\xe9\n")
    with pytest.raises(ValueError, match="key.csv is not UTF-8 .*; save it as UTF-8"):
        dcase2013.read(dcase_dir)


def test_several_keys(dcase_dir):
    for name in ("a.csv", "b.csv"):
        (dcase_dir / name).touch()
    message = (
        r"expected one csv at most, the test set's key, found \['.*a.csv', '.*b.csv"
    )
    with pytest.raises(ValueError, match=message):
        dcase2013.read(dcase_dir)


@pytest.mark.parametrize("name", ["bus.wav", "01.wav", "bus1.wav"])
def test_unnamed_clip(dcase_dir, name):
    (dcase_dir / "scenes_stereo" / name).touch()
    message = f"the scene of 1 files is not clear, the first: .*scenes_stereo/{name};"
    with pytest.raises(ValueError, match=message):
        dcase2013.read(dcase_dir)


def test_too_many_folders_or_none(dcase_dir, tmp_path):
    (dcase_dir / "third").mkdir()
    (dcase_dir / "third" / "bus01.wav").touch()
    message = (
        r"holds audio in \['.*scenes_stereo', .*third'\], expected one folder scenes_"
    )
    with pytest.raises(ValueError, match=message):
        dcase2013.read(dcase_dir)
    with pytest.raises(ValueError, match=r"holds audio in \['.*third'\], expected one"):
        dcase2013.read(dcase_dir / "third")
