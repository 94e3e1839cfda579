"""What the reader of UrbanSound8K lists, and what it says of malformed folders."""

import collections

import pytest

from aemjax.data import catalog, urbansound8k
from aemjax.data.clips import Clip

COLUMNS = (
    "slice_file_name",
    "fsID",
    "start",
    "end",
    "salience",
    "fold",
    "classID",
    "class",
)


@pytest.fixture
def urban_dir(tmp_path, table):
    rows = [
        ("100-0-0-0.wav", 100, 0.0, 0.3, 1, 1, 0, "air_conditioner"),
        ("200-3-0-1.wav", 200, 2.0, 6.0, 2, 10, 3, "dog_bark"),
        ("200-3-0-2.wav", 200, 6.0, 10.0, 2, 10, 3, "dog_bark"),
        ("300-1-0-0.wav", 300, 0.0, 4.0, 1, 2, 1, "car_horn"),
    ]
    folder = tmp_path / "UrbanSound8K"
    table(folder / "metadata" / "UrbanSound8K.csv", COLUMNS, rows)
    for name in ("fold1/100-0-0-0.wav", "fold10/200-3-0-1.ogg", "fold2/300-1-0-0.wav"):
        path = folder / "audio" / name
        path.parent.mkdir(parents=True)
        path.touch()
    return folder


def test_urbansound8k_lists_every_row(urban_dir):
    listing = urbansound8k.read(urban_dir)
    assert listing.label_names == ("air_conditioner", "car_horn", "dog_bark")
    clips = {clip.id: clip for clip in listing.clips}
    assert len(clips) == 4
    assert clips["200-3-0-1"] == Clip(
        id="200-3-0-1",
        source=str(urban_dir / "audio" / "fold10" / "200-3-0-1.ogg"),
        labels=(2,),  # numbered without the gap that class 2 leaves
        fold=10,
        group="200",
    )
    assert clips["200-3-0-2"].source is None


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("fsID", "id", r"lacks the columns \['fsID'\]"),
        ("2,10,3,", "2,10,x,", "UrbanSound8K.csv:3: classID is 'x', expected a whole"),
    ],
)
def test_urbansound8k_malformed_csv(urban_dir, old, new, message, edit):
    edit(urban_dir / "metadata" / "UrbanSound8K.csv", old, new)
    with pytest.raises(ValueError, match=message):
        urbansound8k.read(urban_dir)


def test_urbansound8k_unpacked_one_folder_below(urban_dir):
    assert urbansound8k.read(urban_dir.parent) == urbansound8k.read(urban_dir)


def test_urbansound8k_without_rows(urban_dir, table):
    table(urban_dir / "metadata" / "UrbanSound8K.csv", COLUMNS, [])
    with pytest.raises(ValueError, match="UrbanSound8K.csv lists no clips"):
        urbansound8k.read(urban_dir)


def test_urbansound8k_folds_1_2_and_10(real_audio):
    listing = urbansound8k.read(real_audio("urbansound8k"))
    counts = collections.Counter(
        listing.label_names[clip.labels[0]] for clip in listing.clips
    )
    assert counts == catalog.get("urbansound8k").published_per_class["full"]
    found = collections.Counter(clip.fold for clip in listing.clips if clip.source)
    assert found == {1: 873, 2: 888, 10: 837}
