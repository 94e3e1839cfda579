import collections
import csv

import pytest
import soundfile

from aemjax.data import manifest as reader
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.synthetic import manifest, synthesize
from tests.aemjax.data import listening

CLIPS = 240
NAMES = {sound_class.name for sound_class in manifest.CLASSES}


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "manifest"
    return synthesize("manifest", folder, clips=CLIPS, seconds=1.0)


def _rows(folder):
    with open(folder / "set.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_recordings_are_groups_in_one_fold_and_some_hold_several_clips(twin):
    rows = _rows(twin)
    assert tuple(rows[0]) == ("path", "label", "fold", "group", "start_s", "end_s")
    assert len(rows) == CLIPS and {row["label"] for row in rows} == NAMES
    recordings = collections.defaultdict(list)
    for row in rows:
        recordings[row["path"]].append(row)
    assert {f"recordings/{p.name}" for p in (twin / "recordings").iterdir()} == (
        recordings.keys()
    )
    assert {path.rpartition(".")[2] for path in recordings} == {"wav", "flac"}
    assert {len(parts) for parts in recordings.values()} == {1, 2, 3, 4}
    assert collections.Counter(row["fold"] for row in rows).keys() == set("12345")
    for path, parts in recordings.items():
        assert len({(part["fold"], part["group"]) for part in parts}) == 1
        if parts[0]["start_s"] == "":
            assert len(parts) == 1 and parts[0]["end_s"] == ""
            continue
        times = [float(part[key]) for part in parts for key in ("start_s", "end_s")]
        assert times == sorted(times) and times[0] > 0
        assert times[-1] < soundfile.info(twin / path).duration
    assert sum(row["start_s"] == "" for row in rows) > 40
    several = [parts for parts in recordings.values() if len(parts) > 1]
    assert any(len({part["label"] for part in parts}) > 1 for parts in several)


def test_prepared_every_clip_has_its_part(twin, tmp_path):
    made = prepare("manifest", twin, tmp_path / "set")
    assert made["kept"] == made["listed"] == CLIPS and not made["multi_label"]
    counts = collections.Counter(row["label"] for row in _rows(twin))
    assert made["splits"]["full"]["clips_per_class"] == dict(sorted(counts.items()))
    data = PreparedSet(tmp_path / "set")
    lengths_s = data.n_samples / 16000
    assert 0.79 < lengths_s.min() and lengths_s.max() < 1.21
    assert len(set(data.group.tolist())) == len({row["group"] for row in _rows(twin)})


def test_clips_can_have_several_labels(tmp_path):
    options = {"clips": 60, "seconds": 0.5, "multi_label": True}
    rows = _rows(synthesize("manifest", tmp_path / "twin", **options))
    labels = [row["label"].split(";") for row in rows]
    assert {len(set(own)) for own in labels} == {1, 2}
    assert {name for own in labels for name in own} == NAMES
    made = prepare("manifest", tmp_path / "twin", tmp_path / "set")
    assert made["multi_label"] and made["kept"] == 60
    counts = made["splits"]["full"]["clips_per_class"]
    assert sum(counts.values()) == sum(map(len, labels)) > 65


def test_the_mean_spectrum_is_a_hint_and_no_more(twin):
    by_mean, by_course = listening.scores(reader.read(twin))
    assert 0.22 < by_mean <= 0.7
    assert by_course > by_mean + 0.2
