"""What the reader of ICBHI 2017 lists, and what it says of malformed folders."""

import collections

import numpy as np
import pytest

from aemjax.data import catalog, icbhi2017, splits
from aemjax.data.clips import Clip
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet

CYCLES = "0.036\t0.5\t0\t0\n0.5\t0.75\t1\t0\n0.75\t0.9\t0\t1\n0.9\t1.05\t1\t1\n\n"
# The second line has another device than its recording, as one line officially does.
SPLIT = (
    "101_1b1_Al_sc_Meditron\ttest\r\n226_1b1_Pl_sc_Meditron\ttrain\r\n"
    "101_2b1_Pr_mc_AKGC417L\ttrain\r\n"
)
RECORDINGS = ("101_1b1_Al_sc_Meditron", "226_1b1_Pl_sc_LittC2SE")


@pytest.fixture
def icbhi_dir(tmp_path, save):
    """Three recordings, one without audio; the last cycle overshoots by 50 ms."""
    folder = tmp_path / "icbhi"
    audio = folder / "audio_and_txt_files"
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 4000)
    for recording in (*RECORDINGS, "101_2b1_Pr_mc_AKGC417L"):
        if recording in RECORDINGS:
            save(audio / f"{recording}.wav", samples, 4000)
        (audio / f"{recording}.txt").write_text(CYCLES)
    (folder / "ICBHI_challenge_train_test.txt").write_bytes(SPLIT.encode())
    (folder / "filename_format.txt").write_text("Elements contained")
    return folder


def shares(listing, split):
    """Clips of a split by class."""
    labels = [clip.labels[0] for clip in listing.clips if clip.split == split]
    return {name: labels.count(i) for i, name in enumerate(listing.label_names)}


def test_lists_every_cycle(icbhi_dir):
    listing = icbhi2017.read(icbhi_dir)
    assert listing.label_names == ("normal", "crackles", "wheezes", "both")
    assert [clip.labels for clip in listing.clips] == [(0,), (1,), (2,), (3,)] * 3
    assert listing.clips[1] == Clip(
        id="101_1b1_Al_sc_Meditron_2",
        source=str(icbhi_dir / "audio_and_txt_files" / "101_1b1_Al_sc_Meditron.wav"),
        labels=(1,),
        split="test",
        group="101",
        device="Meditron",
        start_s=0.5,
        end_s=0.75,
    )
    assert listing.clips[4].source is None
    assert listing.clips[4].split == "train"


def test_recording_under_another_device_in_the_split_list(icbhi_dir):
    clip = icbhi2017.read(icbhi_dir).clips[8]
    assert (clip.id, clip.split) == ("226_1b1_Pl_sc_LittC2SE_1", "train")
    assert clip.device == "LittC2SE"
    assert clip.source is not None


def test_last_cycle_ends_with_the_audio(icbhi_dir):
    clips = icbhi2017.read(icbhi_dir).clips
    assert [clip.end_s for clip in clips[3::4]] == [1.0, 1.05, 1.0]
    assert clips[2].end_s == 0.9


def test_far_overshoot_is_left_for_prepare_to_refuse(icbhi_dir, edit):
    path = icbhi_dir / "audio_and_txt_files" / "101_1b1_Al_sc_Meditron.txt"
    edit(path, "1.05", "1.5")
    assert icbhi2017.read(icbhi_dir).clips[3].end_s == 1.5
    path.with_suffix(".wav").write_text("no audio")
    assert icbhi2017.read(icbhi_dir).clips[3].end_s == 1.5


@pytest.mark.parametrize("name", ["ICBHI_final_database", "audio"])
def test_archive_unpacked_elsewhere(icbhi_dir, name):
    want = [clip.id for clip in icbhi2017.read(icbhi_dir).clips]
    (icbhi_dir / "inner").mkdir()
    (icbhi_dir / "audio_and_txt_files").rename(icbhi_dir / "inner" / name)
    assert [clip.id for clip in icbhi2017.read(icbhi_dir.parent).clips] == want


def test_copies_of_annotations_elsewhere(icbhi_dir):
    want = icbhi2017.read(icbhi_dir)
    (icbhi_dir / "copy").mkdir()
    copy = icbhi_dir / "copy" / "101_1b1_Al_sc_Meditron.txt"
    copy.write_text(CYCLES)
    assert icbhi2017.read(icbhi_dir) == want
    (icbhi_dir / "audio_and_txt_files").rename(icbhi_dir / "audio")
    message = (
        r"expected in one folder, or one named audio_and_txt_files or ICBHI_final_"
        r"database; found \['.*audio', '.*copy'\]"
    )
    with pytest.raises(ValueError, match=message):
        icbhi2017.read(icbhi_dir)


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            "226_1b1_Pl_sc_Meditron\ttrain\n",
            "",
            "train_test.txt has no line for 1 recordings, the first: '226_1b1_Pl_sc_LittC",
        ),
        (
            "226_1b1_Pl",
            "226_1b1_Pr_sc_Meditron\ttest\n226_1b1_Pl",
            r"names 1 recordings without .* the first: 226_1b1_Pr_sc_\*.txt; fetch them",
        ),
        (
            "\ttest",
            "\tvalidation",
            r"train_test.txt:1: '101_1b1_Al_sc_Meditron\\tvalidation' is not a record",
        ),
        (
            "101_2b1_Pr_mc_AKGC417L",
            "101_1b1_Al_sc_Litt3200",
            "train_test.txt:3: '101_1b1_Al_sc_Litt.* each recording once",
        ),
    ],
)
def test_split_list_and_recordings_differ(icbhi_dir, edit, old, new, message):
    edit(icbhi_dir / "ICBHI_challenge_train_test.txt", old, new)
    with pytest.raises(ValueError, match=message):
        icbhi2017.read(icbhi_dir)


@pytest.mark.parametrize(
    "old, new",
    [
        ("0.75\t1\t0", "0.75\t2\t0"),
        ("0.75\t1\t0", "0.5\t1\t0"),
        ("0.75\t1\t0", "0.75\t1"),
        ("0.75\t1\t0", "nan\t1\t0"),
    ],
)
def test_malformed_cycle(icbhi_dir, edit, old, new):
    edit(icbhi_dir / "audio_and_txt_files" / "226_1b1_Pl_sc_LittC2SE.txt", old, new)
    message = "226_1b1_Pl_sc_LittC2SE.txt:2: '0.5.* is not 'start end crackles wheezes'"
    with pytest.raises(ValueError, match=message):
        icbhi2017.read(icbhi_dir)


def test_annotations_that_are_not_utf_8(icbhi_dir):
    path = icbhi_dir / "audio_and_txt_files" / "226_1b1_Pl_sc_LittC2SE.txt"
    path.write_bytes(b"0.1\t0.2\t\xe9\n")
    with pytest.raises(ValueError, match=f"{path.name} is not UTF-8 .*; save it as"):
        icbhi2017.read(icbhi_dir)


def test_two_recordings_that_differ_in_the_device_alone(icbhi_dir):
    audio = icbhi_dir / "audio_and_txt_files"
    (audio / "226_1b1_Pl_sc_Meditron.txt").write_text(CYCLES)
    message = (
        "Pl_sc_Meditron.txt and 226_1b1_Pl_sc_LittC2SE.txt differ in the device al"
    )
    with pytest.raises(ValueError, match=message):
        icbhi2017.read(icbhi_dir)


def test_wrong_folder(tmp_path, icbhi_dir):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="train_test.txt does not exist, nor does"):
        icbhi2017.read(tmp_path / "empty")
    for path in (icbhi_dir / "audio_and_txt_files").glob("*.txt"):
        path.unlink()
    with pytest.raises(ValueError, match=r"icbhi: annotations <.*found \[\]"):
        icbhi2017.read(icbhi_dir)


def test_prepared_cycles(icbhi_dir, tmp_path):
    made = prepare("icbhi2017", icbhi_dir, tmp_path / "set", allow_missing=True)
    assert made["skipped"] == {"missing": 4, "unreadable": 0}
    data = PreparedSet(tmp_path / "set")
    samples = dict(zip(data.id.tolist(), data.n_samples.tolist(), strict=True))
    assert samples["226_1b1_Pl_sc_LittC2SE_2"] == 4000
    assert samples["226_1b1_Pl_sc_LittC2SE_4"] == 1600
    (division,) = splits.divide(data, splits.Protocol("official"))
    assert {data.group[row] for row in division.train} == {"226"}
    assert {data.group[row] for row in division.eval} == {"101"}


def test_official_annotations(real_audio):
    listing = icbhi2017.read(real_audio("icbhi2017"))
    published = catalog.get("icbhi2017").published_per_class
    assert {split: shares(listing, split) for split in published} == published
    assert len(listing.clips) == 6898
    patients = {
        split: {clip.group for clip in listing.clips if clip.split == split}
        for split in published
    }
    assert patients["train"] & patients["test"] == {"156", "218"}
    assert len(patients["train"] | patients["test"]) == 126


def test_cycles_that_have_audio(real_audio):
    listing = icbhi2017.read(real_audio("icbhi2017"))
    found = [clip for clip in listing.clips if clip.source]
    misnamed = [clip for clip in found if clip.id.startswith("226_1b1_Pl_sc_")]
    assert collections.Counter(c.split for c in found) == {"train": 1049, "test": 920}
    assert collections.Counter(c.split for c in misnamed) == {"train": 11}


def test_two_patients_are_on_both_sides(real_audio, set_of):
    listing = icbhi2017.read(real_audio("icbhi2017"))
    sides = sorted({(clip.split, clip.group) for clip in listing.clips})
    data = set_of([("normal", split, "", patient) for split, patient in sides])
    data.manifest["official"] = catalog.get("icbhi2017").official
    (division,) = splits.divide(data, splits.Protocol("official"))
    assert division.shared_groups == ("156", "218")


@pytest.mark.slow
def test_real_cycles_prepared(real_audio, tmp_path):
    source = real_audio("icbhi2017")
    made = prepare("icbhi2017", source, tmp_path / "set", allow_missing=True)
    assert made["skipped"] == {"missing": 4929, "unreadable": 0}
    assert made["splits"]["train"]["clips"] == 1038 + 11  # those of 226_1b1_Pl_sc
    assert made["splits"]["test"]["clips"] == 920
