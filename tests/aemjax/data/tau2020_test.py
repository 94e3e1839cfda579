"""What the reader of TAU 2020 Mobile lists, and what it says of malformed folders."""

import collections

import pytest

from aemjax.data import catalog, tau2020
from aemjax.data.clips import Clip


@pytest.fixture
def tau_dir(tmp_path, table):
    folder = tmp_path / "TAU"
    rows = [
        ("audio/tram-lyon-1042-44301-a.wav", "tram", "lyon-1042", "a"),
        ("audio/bus-paris-7-301-s1.wav", "bus", "paris-7", "s1"),
        ("audio/bus-paris-7-301-s4.wav", "bus", "paris-7", "s4"),
        ("audio/bus-milan-9-2-b.wav", "bus", "milan-9", "b"),
    ]
    tabs = {"delimiter": "\t", "lineterminator": "\n"}
    columns = ("filename", "scene_label", "identifier", "source_label")
    table(folder / "meta.csv", columns, rows, **tabs)
    lists = folder / "evaluation_setup"
    table(lists / "fold1_train.csv", columns[:2], [r[:2] for r in rows[:2]], **tabs)
    table(lists / "fold1_test.csv", columns[:1], [rows[3][:1]], **tabs)
    tabs["lineterminator"] = "\r\n"
    table(lists / "fold1_evaluate.csv", columns[:2], [rows[3][:2]], **tabs)
    for name in ("tram-lyon-1042-44301-a.wav", "bus-milan-9-2-b.flac"):
        (folder / "audio").mkdir(exist_ok=True)
        (folder / "audio" / name).touch()
    return folder


def test_lists_every_row(tau_dir):
    listing = tau2020.read(tau_dir)
    assert listing.label_names == ("bus", "tram")
    assert listing.clips == (
        Clip(
            id="tram-lyon-1042-44301-a",
            source=str(tau_dir / "audio" / "tram-lyon-1042-44301-a.wav"),
            labels=(1,),
            split="train",
            group="tram-lyon-1042",
            device="a",
        ),
        Clip(
            id="bus-paris-7-301-s1",
            source=None,
            labels=(0,),
            split="train",
            group="bus-paris-7",
            device="s1",
        ),
        Clip(
            id="bus-milan-9-2-b",
            source=str(tau_dir / "audio" / "bus-milan-9-2-b.flac"),
            labels=(0,),
            split="test",
            group="bus-milan-9",
            device="b",
        ),
        Clip(
            id="bus-paris-7-301-s4",
            source=None,
            labels=(0,),
            split="unused",
            group="bus-paris-7",
            device="s4",
        ),
    )


def test_lists_alone_suffice(tau_dir):
    want = tau2020.read(tau_dir)
    (tau_dir / "meta.csv").unlink()
    assert tau2020.read(tau_dir).clips == want.clips[:3]


def test_unpacked_one_folder_below(tau_dir):
    assert tau2020.read(tau_dir.parent) == tau2020.read(tau_dir)


@pytest.mark.parametrize(
    "file, old, new, message",
    [
        (
            "meta.csv",
            "paris-7\ts1",
            "paris-7\ts2",
            "meta.csv: source_label of 'audio/bus-paris-7-301-s1.wav' is 's2', its name "
            "says 's1'",
        ),
        (
            "evaluation_setup/fold1_train.csv",
            "a.wav\ttram",
            "a.wav\tbus",
            "fold1_train.csv: scene_label of 'audio/tram-.*' is 'bus', its name says 'tr",
        ),
        (
            "evaluation_setup/fold1_evaluate.csv",
            "-9-2-b",
            "-9-b",
            "fold1_evaluate.csv: 'audio/bus-milan-9-b.wav' is not named <scene>-<city>",
        ),
        (
            "evaluation_setup/fold1_train.csv",
            "\t",
            ",",
            r"fold1_train.csv lacks the columns \['filename', 'scene_label'\]; it has",
        ),
    ],
)
def test_malformed_lists(tau_dir, edit, file, old, new, message):
    edit(tau_dir / file, old, new)
    with pytest.raises(ValueError, match=message):
        tau2020.read(tau_dir)


def test_without_the_list_to_test_on(tau_dir):
    (tau_dir / "evaluation_setup" / "fold1_evaluate.csv").unlink()
    with pytest.raises(ValueError, match="fold1_evaluate.csv does not exist; is this"):
        tau2020.read(tau_dir)


def test_official_lists(real_audio, tmp_path):
    lists = real_audio("tau2020") / "official_splits"
    (tmp_path / "evaluation_setup").symlink_to(lists)
    listing = tau2020.read(tmp_path)
    counts = {split: collections.Counter() for split in ("train", "test")}
    devices = {split: collections.Counter() for split in ("train", "test")}
    places = {split: set() for split in ("train", "test")}
    for clip in listing.clips:
        counts[clip.split][listing.label_names[clip.labels[0]]] += 1
        devices[clip.split][clip.device] += 1
        places[clip.split].add(clip.group)
    assert counts == catalog.get("tau2020").published_per_class
    assert devices["test"] == dict.fromkeys(tau2020.DEVICES, 330)
    assert devices["train"] == {"a": 10_215} | dict.fromkeys(
        ("b", "c", "s1", "s2", "s3"), 750
    )
    assert (len(places["train"]), len(places["test"])) == (365, 146)
    assert not places["train"] & places["test"]


def test_fixture_of_the_official_folder(real_audio):
    listing = tau2020.read(real_audio("tau2020") / "fixture")
    assert [(clip.split, clip.source is not None) for clip in listing.clips] == [
        ("train", True),
        ("train", False),
        ("train", False),
        *[("test", False)] * 3,
    ]
