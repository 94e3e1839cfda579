import collections
import csv
import re

import pytest
import soundfile

from aemjax.data import esc50 as reader
from aemjax.data.prepare import prepare
from aemjax.data.synthetic import esc50, synthesize
from tests.aemjax.data import listening


def _rows(folder, encoding="utf-8"):
    with open(folder / "meta" / "esc50.csv", newline="", encoding=encoding) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def esc50_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "esc50"
    return synthesize("esc50", folder, clips=240, classes=12, seconds=0.5)


def test_the_layout_is_the_official_one(esc50_dir):
    text = (esc50_dir / "meta" / "esc50.csv").read_bytes().decode()
    header = "filename,fold,target,category,esc10,src_file,take\n"
    assert text.startswith(header) and "\r" not in text
    rows = _rows(esc50_dir)
    assert len(rows) == 240
    files = {path.name for path in (esc50_dir / "audio").iterdir()}
    assert {r["filename"] for r in rows} == files
    for row in rows:
        assert row["filename"] == "{fold}-{src_file}-{take}-{target}.wav".format(**row)
        assert re.fullmatch(r"\d{6}", row["src_file"]) and row["take"] in "ABCD"
        assert row["category"] == esc50.CLASSES[int(row["target"])].name
        assert row["esc10"] == str(int(row["target"]) < 10)
        info = soundfile.info(esc50_dir / "audio" / row["filename"])
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (
            (44100, 1, "PCM_16", 22050)
        )


def test_folds_are_balanced_and_sources_stay_in_one(esc50_dir):
    rows = _rows(esc50_dir)
    cells = collections.Counter((r["fold"], r["target"]) for r in rows)
    assert len(cells) == 5 * 12 and set(cells.values()) == {4}
    takes = collections.defaultdict(list)
    for row in rows:
        takes[row["src_file"]].append((row["fold"], row["target"], row["take"]))
    for found in takes.values():
        assert len({key[:2] for key in found}) == 1
        assert [key[2] for key in found] == list("ABCD")[: len(found)]
    assert {len(found) for found in takes.values()} == {1, 2, 3, 4}


def test_at_full_size_names_are_unique():
    chosen = [
        clip
        for fold in range(1, 6)
        for target in range(50)
        for clip in esc50._sources(3, fold, target, 8)
    ]
    names = [esc50._names(clip, 3) for clip in chosen]
    assert len({name for name, _, _ in names}) == 2000
    assert len({source for _, source, _ in names}) == len({c[:3] for c in chosen})


def test_a_copy_that_a_spreadsheet_saved_says_the_same(tmp_path, esc50_dir):
    options = {"clips": 60, "classes": 12, "seconds": 0.5}
    plain = synthesize("esc50", tmp_path / "plain", **options)
    saved = synthesize("esc50", tmp_path / "saved", **options, spreadsheet=True)
    text = (saved / "meta" / "esc50.csv").read_bytes().decode()
    assert text[0] == "\ufeff" and text.count("\n") == text.count("\r\n") == 61
    assert {row["esc10"] for row in _rows(saved)} == {"TRUE", "FALSE"}
    rows = _rows(saved, "utf-8-sig")
    assert [r | {"esc10": r["esc10"].title()} for r in rows] == _rows(plain)
    for name, kept in (("esc50", 60), ("esc10", 50)):
        manifests = [
            prepare(name, source, tmp_path / name / source.name)
            for source in (plain, saved)
        ]
        assert [m["kept"] for m in manifests] == [kept, kept]
        assert manifests[0]["checksum"] == manifests[1]["checksum"]


@pytest.mark.parametrize(
    "classes, clips, above_chance",
    [(10, 300, 0.2), pytest.param(50, 500, 0.05, marks=pytest.mark.slow)],
)
def test_the_course_in_time_tells_classes_apart_and_the_mean_spectrum_does_not(
    tmp_path, classes, clips, above_chance
):
    """A linear model on the mean log-mel spectrum beats chance (10 % and 2 %) and stays
    below 70 %; on features of the course in time it gains 20 points or more. So the
    classes can be learnt, but not without learning to listen."""
    synthesize("esc50", tmp_path / "twin", clips=clips, classes=classes, seconds=1)
    by_mean, by_course = listening.scores(reader.read(tmp_path / "twin"))
    assert above_chance < by_mean <= 0.7
    assert by_course > by_mean + 0.2
