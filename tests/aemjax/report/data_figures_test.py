"""Figures are files that open, whatever the classes are called."""

import dataclasses

import pytest
from matplotlib import image

from aemjax.data.duplicates import EqualAudio
from aemjax.data.inspect import Inspection
from aemjax.report.data_figures import write_figures


def inspection(classes, **changes):
    per_class = {name: 3 + number for number, name in enumerate(classes)}
    clips = sum(per_class.values())
    found = Inspection(
        path="set",
        dataset="birds_$1",
        clips=clips,
        hours=1.0,
        skipped={"missing": 0},
        clips_per_part={"train": clips, "train:1": clips, "test": clips},
        clips_per_class={part: per_class for part in ("train", "train:1", "test")},
        published={"classes": None, "clips": {}, "per_class": {"test": per_class}},
        duration_s={"min": 1.0, "median": 1.5, "max": 2.0},
        duration_edges_s=(1.0, 1.5, 2.0),
        duration_clips=(1, 2),
        shortest_s={},
        level_edges_db=(-100, -50, 0),
        level_clips=(1, 2),
        silent=0,
        near_silent=0,
        offset=0,
        clipped=0,
        source_rates={4000: 1, 44_100: 2},
        devices={},
        equal_audio=EqualAudio(0, 0, 0, 0, 0, ()),
        shared_groups={},
        findings=(),
    )
    return dataclasses.replace(found, **changes)


@pytest.mark.parametrize(
    "classes", [["a"], ["dog|cat", "$x_{", "\\frac{"], [str(i) for i in range(65)]]
)
def test_figures(tmp_path, classes):
    paths = write_figures(inspection(classes), tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["clips.png", "audio.png"]
    assert sorted((tmp_path / "new" / "folder").iterdir()) == sorted(paths)
    for path in paths:
        pixels = image.imread(path)
        height, width, _ = pixels.shape
        assert width == 960 and height >= 240
        assert pixels[..., :3].std() > 0.05  # something was drawn


def test_figures_are_written_again(tmp_path):
    clips, audio = write_figures(inspection(["a", "b"]), tmp_path)
    before = clips.read_bytes(), audio.read_bytes()
    write_figures(inspection(["a", "b"]), tmp_path)
    assert (clips.read_bytes(), audio.read_bytes()) == before
    write_figures(inspection(["a", "b"], duration_clips=(2, 1)), tmp_path)
    assert clips.read_bytes() == before[0] and audio.read_bytes() != before[1]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        write_figures(inspection(["a"]), tmp_path / "file" / "folder")
