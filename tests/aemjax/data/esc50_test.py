"""What the reader of ESC-50 lists, and what it says of malformed folders."""

import collections

import pytest

from aemjax.data import esc50
from aemjax.data.clips import Clip


@pytest.fixture
def esc50_dir(tmp_path, esc50_at):
    return esc50_at(tmp_path / "esc50")


def by_id(listing):
    return {clip.id: clip for clip in listing.clips}


def test_esc50_lists_every_row(esc50_dir):
    listing = esc50.read(esc50_dir)
    assert listing.label_names == ("dog", "rooster", "door")
    assert len(listing.clips) == 30
    assert by_id(listing)["2-102-B-7"] == Clip(
        id="2-102-B-7",
        source=str(esc50_dir / "audio" / "2-102-B-7.wav"),
        labels=(1,),
        fold=2,
        group="102",
    )


def test_esc10_is_renumbered(esc50_dir, edit):
    edit(esc50_dir / "meta" / "esc50.csv", "7,rooster,True", "7,rooster,False")
    edit(esc50_dir / "meta" / "esc50.csv", "30,door,False", "30,door,True")
    listing = esc50.read_esc10(esc50_dir)
    assert listing.label_names == ("dog", "door")
    assert {clip.id.split("-")[3]: clip.labels for clip in listing.clips} == {
        "0": (0,),
        "30": (1,),
    }
    assert len(listing.clips) == 20


@pytest.mark.parametrize("read", [esc50.read, esc50.read_esc10])
def test_esc50_copy_saved_by_a_spreadsheet(esc50_dir, read):
    want = read(esc50_dir)
    path = esc50_dir / "meta" / "esc50.csv"
    text = path.read_text().replace("True", "TRUE").replace("False", "FALSE")
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read(esc50_dir) == want


def test_esc50_finds_another_extension_by_stem(esc50_dir):
    audio = esc50_dir / "audio"
    (audio / "1-101-A-0.wav").rename(audio / "1-101-A-0.flac")
    (audio / "1-101-B-0.wav").unlink()
    clips = by_id(esc50.read(esc50_dir))
    assert clips["1-101-A-0"].source == str(audio / "1-101-A-0.flac")
    assert clips["1-101-B-0"].source is None


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("src_file", "source", r"esc50.csv lacks the columns \['src_file'\]; it has"),
        ("4,7,rooster", "four,7,rooster", "esc50.csv:22: fold is 'four', expected a"),
        ("5,7,rooster", "5,7,hen", "target 7 is both 'hen' and 'rooster'"),
    ],
)
def test_esc50_malformed_csv(esc50_dir, old, new, message, edit):
    edit(esc50_dir / "meta" / "esc50.csv", old, new)
    with pytest.raises(ValueError, match=message):
        esc50.read(esc50_dir)


def test_esc50_without_esc10_rows(esc50_dir, edit):
    edit(esc50_dir / "meta" / "esc50.csv", "True", "False")
    with pytest.raises(ValueError, match="esc50.csv lists no clips to use"):
        esc50.read_esc10(esc50_dir)


def test_esc50_unpacked_one_folder_below(esc50_dir):
    assert esc50.read(esc50_dir.parent) == esc50.read(esc50_dir)


def test_esc50_wrong_folder(tmp_path):
    with pytest.raises(ValueError, match="esc50.csv does not exist, nor does"):
        esc50.read(tmp_path)


def test_esc10_as_published(real_audio):
    listing = esc50.read_esc10(real_audio("esc10"))
    assert listing.label_names == esc50.ESC10_CLASSES
    assert all(clip.source for clip in listing.clips)
    folds = collections.Counter(clip.fold for clip in listing.clips)
    assert folds == dict.fromkeys(range(1, 6), 80)
