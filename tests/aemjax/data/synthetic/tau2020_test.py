import collections
import csv

import numpy as np
import pytest
import soundfile

from aemjax.data import tau2020 as reader
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.synthetic import synthesize, tau2020
from tests.aemjax.data import listening

CLIPS = 240


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "tau2020"
    return synthesize("tau2020", folder, clips=CLIPS, seconds=1.0)


def _table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def lists(twin):
    setup = twin / "evaluation_setup"
    tables = {
        name: setup / f"fold1_{name}.csv" for name in ("train", "test", "evaluate")
    }
    return {"meta": _table(twin / "meta.csv")} | {
        k: _table(v) for k, v in tables.items()
    }


def _fields(row):
    """scene, city, location, segment, device"""
    return row["filename"].removeprefix("audio/").removesuffix(".wav").split("-")


def test_tables_are_as_published(twin, lists):
    setup = twin / "evaluation_setup"
    ends = {p.name: p.read_bytes().count(b"\r\n") for p in setup.iterdir()}
    rows = len(lists["evaluate"]) + 1
    assert ends == {
        **{"fold1_train.csv": 0, "fold1_test.csv": rows, "fold1_evaluate.csv": rows}
    }
    assert b"\r" not in (twin / "meta.csv").read_bytes()
    columns = {name: tuple(table[0]) for name, table in lists.items()}
    assert columns == {
        "meta": ("filename", "scene_label", "identifier", "source_label"),
        "train": ("filename", "scene_label"),
        "test": ("filename",),
        "evaluate": ("filename", "scene_label"),
    }
    for row in lists["meta"]:
        scene, city, location, _, device = _fields(row)
        assert row["scene_label"] == scene and row["source_label"] == device
        assert row["identifier"] == f"{city}-{location}"
    scenes = collections.Counter(row["scene_label"] for row in lists["meta"])
    assert scenes == {c.name: 24 for c in tau2020.CLASSES}
    names = {row["filename"] for row in lists["meta"]}
    assert names == {f"audio/{p.name}" for p in (twin / "audio").iterdir()}
    assert len(names) == CLIPS


def test_unseen_devices_are_evaluated_on_and_some_rows_are_in_no_list(lists):
    names = {k: {row["filename"] for row in table} for k, table in lists.items()}
    assert names["test"] == names["evaluate"]
    assert not names["train"] & names["test"]
    unused = names["meta"] - names["train"] - names["test"]
    assert (len(names["train"]), len(names["test"]), len(unused)) == (158, 60, 22)
    devices = {
        k: collections.Counter(_fields({"filename": n})[4] for n in found)
        for k, found in names.items()
    }
    unused_devices = {_fields({"filename": name})[4] for name in unused}
    assert set(devices["train"]) == {"a", "b", "c", "s1", "s2", "s3"}
    assert set(devices["test"]) == set(tau2020.DEVICES)
    assert unused_devices == {"s4", "s5", "s6"}
    assert devices["train"]["a"] > 0.6 * len(names["train"])
    places = {
        k: {tuple(_fields(row)[:3]) for row in lists[k]} for k in ("train", "test")
    }
    assert not places["train"] & places["test"]


def test_devices_colour_the_same_sound(twin, lists):
    segments = collections.defaultdict(dict)
    for row in lists["meta"]:
        *segment, device = _fields(row)
        segments[tuple(segment)][device] = twin / row["filename"]
    together = [found for found in segments.values() if "a" in found and len(found) > 1]
    assert len(together) >= 60
    for found in together[:12]:
        waves = {device: soundfile.read(path)[0] for device, path in found.items()}
        for device, wave in waves.items():
            info = soundfile.info(found[device])
            assert (info.samplerate, info.channels) == (44100, 1)
            assert (info.subtype, info.frames) == ("PCM_24", 44100)
            if device != "a":
                power = np.abs(np.fft.rfft([waves["a"], wave])) ** 2 + 1e-3
                ratio_db = 10 * np.log10(power[1] / power[0])
                low, middle, high = (
                    ratio_db[80:120],
                    ratio_db[900:1100],
                    ratio_db[7000:8000],
                )
                assert np.median(middle) > np.median(low) + 0.3
                assert -12 < np.median(middle) < 0
                assert np.median(high) < np.median(middle) + 0.5
                assert np.corrcoef(waves["a"], wave)[0, 1] > 0.5


def test_prepared_the_lists_are_the_splits(twin, tmp_path):
    manifest = prepare("tau2020", twin, tmp_path / "set")
    assert manifest["kept"] == manifest["listed"] == CLIPS
    clips = {name: split["clips"] for name, split in manifest["splits"].items()}
    assert clips == {"train": 158, "test": 60, "unused": 22}
    tested = manifest["splits"]["test"]["clips_per_class"]
    assert tested == {c.name: 6 for c in tau2020.CLASSES}
    assert set(PreparedSet(tmp_path / "set").device.tolist()) == set(tau2020.DEVICES)


def test_the_mean_spectrum_is_a_hint_and_no_more(twin):
    by_mean, by_course = listening.scores(reader.read(twin))
    assert 0.15 < by_mean <= 0.7
    assert by_course > by_mean + 0.2
