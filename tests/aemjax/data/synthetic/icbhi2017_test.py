import collections

import numpy as np
import pytest
import soundfile

from aemjax.data import icbhi2017 as reader
from aemjax.data.prepare import prepare
from aemjax.data.synthetic import icbhi2017, synthesize
from tests.aemjax.data import listening

CLIPS = 400


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "icbhi2017"
    return synthesize("icbhi2017", folder, clips=CLIPS, seconds=0.8)


@pytest.fixture(scope="module")
def split(twin):
    text = (twin / "ICBHI_challenge_train_test.txt").read_bytes().decode()
    assert text.count("\r\n") == text.count("\n") and text.endswith("\r\n")
    return dict(line.split("\t") for line in text.split("\r\n") if line)


@pytest.fixture(scope="module")
def cycles(twin):
    """{recording: [(start_s, end_s, class)]}"""
    found = {}
    for path in sorted((twin / "audio_and_txt_files").glob("*.txt")):
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        found[path.stem] = [
            (float(a), float(b), int(c) + 2 * int(w)) for a, b, c, w in rows
        ]
    return found


def test_recordings_are_listed_but_one_under_another_name(twin, split, cycles):
    files = {path.stem for path in (twin / "audio_and_txt_files").glob("*.wav")}
    assert files == cycles.keys()
    assert files - split.keys() == {"226_1b1_Pl_sc_LittC2SE"}
    assert split.keys() - files == {"226_1b1_Pl_sc_Meditron"}
    assert split["226_1b1_Pl_sc_Meditron"] == "train"
    assert list(split) == sorted(split)


def test_patients_have_several_recordings_and_one_is_on_both_sides(split):
    sides, recordings = collections.defaultdict(set), collections.Counter()
    for name, side in split.items():
        patient, _, place, mode, device = name.split("_")
        sides[patient].add(side)
        recordings[patient] += 1
        assert place in icbhi2017.LOCATIONS and mode == icbhi2017.DEVICES[device][0]
    assert [patient for patient, found in sides.items() if len(found) > 1] == ["156"]
    assert set(recordings.values()) == {1, 2, 3} and len(sides) > 20
    keys = [name.rpartition("_")[0] for name in split]
    assert len(set(keys)) == len(keys)
    devices = {(name.split("_")[4], side) for name, side in split.items()}
    assert ("Litt3200", "test") in devices and ("LittC2SE", "test") not in devices


def test_cycles_follow_each_other_in_whole_milliseconds(twin, cycles):
    overshoots, rates, widths = [], set(), set()
    for name, own in cycles.items():
        info = soundfile.info(twin / "audio_and_txt_files" / f"{name}.wav")
        assert info.channels == 1
        rates.add(info.samplerate)
        widths.add(info.subtype)
        assert all(a[1] == b[0] for a, b in zip(own, own[1:], strict=False))
        overshoots.append(own[-1][1] - info.duration)
    assert rates == {4000, 10000, 44100} and widths == {"PCM_16", "PCM_24", "PCM_32"}
    assert 0.003 < max(overshoots) < 0.006 and min(overshoots) < -0.3
    lengths_s = [
        end_s - start_s for own in cycles.values() for start_s, end_s, _ in own
    ]
    assert len(lengths_s) == CLIPS
    assert 0.199 < min(lengths_s) < 0.4 and 1.5 < max(lengths_s) < 16
    counts = collections.Counter(label for own in cycles.values() for *_, label in own)
    shares = [counts[k] / CLIPS for k in range(4)]
    assert np.allclose(shares, (0.53, 0.27, 0.13, 0.07), atol=0.015)


def test_the_patients_are_described(twin, split):
    patients = sorted({name.split("_")[0] for name in split})
    lines = (twin / "patient_diagnosis.csv").read_text().splitlines()
    assert lines[0] == "ID,CLASS"
    assert [line.split(",")[0] for line in lines[1:]] == patients
    lines = (twin / "demographic_info.txt").read_text().split("\n")
    assert lines[0] == "" and lines[-1] == ""
    people = [line.split(" ") for line in lines[1:-1]]
    assert [person[0] for person in people] == patients
    assert {len(person) for person in people} == {6}
    for _, age, _, bmi, weight, _ in people:
        assert (bmi == "NA") == (int(age) < 18) != (weight == "NA")


def test_prepared_every_cycle_is_on_its_recordings_side(twin, split, cycles, tmp_path):
    expected = {side: collections.Counter() for side in ("train", "test")}
    for name, own in cycles.items():
        listed = name.replace(icbhi2017.MISNAMED, icbhi2017.LISTED_AS)
        expected[split[listed]].update(label for *_, label in own)
    manifest = prepare("icbhi2017", twin, tmp_path / "set")
    assert manifest["kept"] == manifest["listed"] == CLIPS
    for side, counts in expected.items():
        found = manifest["splits"][side]["clips_per_class"]
        assert list(found.values()) == [counts[k] for k in range(4)]
        assert min(found.values()) > 5


def test_crackles_and_wheezes_are_heard_where_they_are_annotated(twin):
    """A linear model on courses in time tells them; on mean spectra it beats chance,
    25 %, and no more."""
    by_mean, by_course = listening.scores(reader.read(twin))
    assert 0.28 < by_mean <= 0.7
    assert by_course > by_mean + 0.15
