"""Whole sets inspected, and what is refused or logged before training."""

import json

import numpy as np
import pytest

from aemjax import cli
from aemjax.data.inspect import check_before_training, inspect_set
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Division, Protocol, divide
from tests.aemjax.data.altered import altered


@pytest.fixture(scope="module")
def folds(set_of):
    """12 clips of classes a and b in folds 1 to 3."""
    return set_of([("ab"[i % 2], "full", 1 + i % 3, "") for i in range(12)])


@pytest.fixture(scope="module")
def lists(set_of):
    """Six clips to train on, six to test, of a, b and c; groups 156 and 218 in both."""
    groups = ["218", "218", "156", "156", *map(str, range(8))]
    return set_of(
        [
            ("abc"[i % 3], ("train", "test")[i % 2], 0, group)
            for i, group in enumerate(groups)
        ]
    )


def texts(inspection, level="warning"):
    return [f.text for f in inspection.findings if f.level == level]


def test_a_good_set(folds):
    found = inspect_set(folds)
    assert found.findings == () and not found.has_errors
    assert (found.clips, found.dataset) == (12, "manifest")
    assert found.hours == pytest.approx(12 * 0.01 / 3600)
    assert found.clips_per_part == {"full": 12, "full:1": 4, "full:2": 4, "full:3": 4}
    assert found.clips_per_class == {
        "full": {"a": 6, "b": 6},
        **{f"full:{fold}": {"a": 2, "b": 2} for fold in (1, 2, 3)},
    }
    assert found.duration_s == {"min": 0.01, "median": 0.01, "max": 0.01}
    assert sum(found.duration_clips) == sum(found.level_clips) == 12
    assert len(found.shortest_s) == 5 and set(found.shortest_s.values()) == {0.01}
    # Noise between -0.5 and 0.5 is at 20 log10(0.5 / sqrt(3)) = -10.8 dB.
    assert found.level_clips[found.level_edges_db.index(-15)] == 12
    assert (found.silent, found.near_silent, found.offset, found.clipped) == (0,) * 4
    assert found.source_rates == {16_000: 12}
    assert found.devices == {}
    assert found.shared_groups == {f"fold {n} held out": () for n in (1, 2, 3)}


def test_durations_levels_and_rates(folds, tmp_path):
    n_samples = [160, 1600, 3200, 4800, *[16_000] * 8]
    std = [0.0, 1e-7, 2e-4, 0.1, 0.9, 1.0, *[0.1] * 6]
    data = altered(
        folds,
        tmp_path / "set",
        n_samples=n_samples,
        std=std,
        source_rate=[8000, *[44_100] * 11],
    )
    found = inspect_set(data)
    assert found.hours == pytest.approx(sum(n_samples) / 16_000 / 3600)
    assert found.duration_s == {"min": 0.01, "median": 1.0, "max": 1.0}
    assert list(found.shortest_s.items())[:4] == [
        (data.id[0], 0.01),
        (data.id[1], 0.1),
        (data.id[2], 0.2),
        (data.id[3], 0.3),
    ]
    np.testing.assert_allclose(found.duration_edges_s, np.linspace(0.01, 1, 21))
    assert [n for n in found.duration_clips if n] == [1, 1, 1, 1, 8]
    by_level = dict(zip(found.level_edges_db, found.level_clips, strict=False))
    assert {db: n for db, n in by_level.items() if n} == {
        -100: 1,
        -75: 1,
        -20: 7,
        -5: 2,
    }
    assert (found.silent, found.near_silent) == (1, 2)
    assert found.source_rates == {8000: 1, 44_100: 11}


def test_official_lists(lists, tmp_path):
    data = altered(
        lists,
        tmp_path / "set",
        manifest={
            "official": ["train", "test"],
            "published": {
                "classes": 3,
                "clips": {"train": 6, "test": 7, "extra": 1},
                "per_class": {"test": {"a": 2, "b": 2, "c": 3}},
            },
        },
        device=["AKG" if split == "test" else "" for split in lists.split],
    )
    found = inspect_set(data)
    assert found.shared_groups == {"train -> test": ("156", "218")}
    assert found.devices == {"test": {"AKG": 6}}
    assert found.clips_per_part == {"extra": 0, "test": 6, "train": 6}
    assert texts(found) == [
        "split 'extra' has 0 clips, published are 1 (-1); complete it, or give the count "
        "beside every result",
        "split 'test' has 6 clips, published are 7 (-1); 1 classes differ: 'c' 2 of 3; "
        "complete it, or give the count beside every result",
        "train -> test: 2 groups have clips on both sides: 156, 218; say so beside "
        "results, or divide the set by group",
        "train -> test: 1 devices are evaluated and not trained on: AKG; report results "
        "per device",
    ]
    table = found.table().splitlines()
    assert "| class | extra | test | train |" in table
    assert "| all | 0 of 1 | 6 of 7 | 6 of 6 |" in table
    assert "| c | 0 | 2 of 3 | 2 |" in table
    assert "| devices of test | AKG: 6 |" in table


def test_official_lists_of_which_one_is_absent(lists, tmp_path):
    data = altered(lists, tmp_path / "set", manifest={"official": ["train", "eval"]})
    (text,) = texts(inspect_set(data))
    assert text.startswith(f"no official division: {data.path} has no clips in 'eval'")


def test_a_class_that_a_split_lacks(lists, tmp_path):
    labels = [
        [0] if split == "test" else [i % 3] for i, split in enumerate(lists.split)
    ]
    (text,) = texts(inspect_set(altered(lists, tmp_path / "set", labels=labels)))
    assert text == (
        "split 'test' has no clips of 2 classes: b, c; they are not learnt from it, nor "
        "measured"
    )


def test_a_class_of_one_fold(folds, tmp_path):
    """Class b is in fold 3 alone: there it is not learnt, elsewhere not measured."""
    labels = [[int(fold == 3)] for fold in folds.fold]
    found = inspect_set(altered(folds, tmp_path / "set", labels=labels))
    (text,) = texts(found, "error")
    assert text.startswith(
        "fold 3 held out: 1 classes have clips to evaluate and none to"
    )
    assert found.findings[0].level == "error"
    assert len(texts(found)) == 3


def test_a_single_class(folds, tmp_path):
    """Declared, or the only one of several with clips."""
    data = altered(folds, tmp_path / "set", labels=[[0]] * 12)
    found = inspect_set(data)
    one = (
        "all 12 clips are of one class, 'a', expected two or more: whatever the model, "
        "its accuracy is 1; add clips of another class"
    )
    assert texts(found, "error") == [one] and found.has_errors
    with pytest.raises(ValueError, match="cannot be trained on: all 12 clips are of"):
        check_before_training(data, divide(data, Protocol("official")))
    data = altered(data, tmp_path / "alone", manifest={"labels": ["a"]})
    assert texts(inspect_set(data), "error") == [one]
    data = altered(data, tmp_path / "multi", manifest={"multi_label": True})
    assert not inspect_set(data).has_errors


def test_labels_that_differ_in_case_or_spaces(folds, tmp_path, caplog):
    labels = ["A dog", "a  Dog"]
    data = altered(folds, tmp_path / "set", manifest={"labels": labels})
    (text,) = texts(inspect_set(data))
    assert text == (
        "names of classes differ only in case or spaces: 'A dog' = 'a  Dog'; if they are "
        "of one class, write them alike and prepare the set again"
    )
    check_before_training(data, divide(data, Protocol("official")))
    assert caplog.messages == [f"{data.path}: {text}"]


def test_many_classes(folds, tmp_path):
    labels = [f"c{i:02d}" for i in range(65)]
    table = inspect_set(
        altered(folds, tmp_path / "set", manifest={"labels": labels})
    ).table()
    assert "| c02 | 0 | 0 | 0 | 0 |" in table and "| c00 |" not in table
    assert "The 10 rarest of 65 classes; --json has all." in table


def test_the_command(folds, tmp_path, capsys):
    cli.main(["inspect", str(folds.path)])
    printed = capsys.readouterr().out
    assert printed.startswith(
        f"# manifest in {folds.path}\n\n12 clips of 2 classes, 0.00"
    )
    assert "| all | 12 | 4 | 4 | 4 |" in printed
    assert printed.endswith("\n\nNothing to remark.\n")

    cli.main(["inspect", str(folds.path), "--json", f"--figures={tmp_path}/figures"])
    found = json.loads(capsys.readouterr().out)
    assert found["clips_per_class"]["full:2"] == {"a": 2, "b": 2}
    assert found["findings"] == []
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "audio.png",
        "clips.png",
    }


def test_the_command_ends_with_1_after_an_error(folds, tmp_path, capsys):
    data = altered(folds, tmp_path / "set", std=[3277.0] * 12)
    with pytest.raises(SystemExit, match="^1$"):
        cli.main(["inspect", str(data.path)])
    assert "\nerror: 12 of 12 records read are not what" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="^1$"):
        cli.main(["inspect", str(data.path), "--json"])
    levels = [f["level"] for f in json.loads(capsys.readouterr().out)["findings"]]
    assert levels == ["error", "error"]


# Before training.


@pytest.fixture(scope="module")
def official(folds):
    return divide(folds, Protocol("official"))


def test_a_good_set_is_trained_on(folds, official, caplog):
    check_before_training(folds, official)
    assert caplog.messages == []


def test_what_makes_training_meaningless(folds, official, tmp_path):
    labels = [[int(fold == 2)] for fold in folds.fold]
    std = folds.std.tolist()
    std[official[0].eval[-1]] *= 1.01  # the last row of a side is always read
    data = altered(folds, tmp_path / "set", labels=labels, std=std)
    with pytest.raises(ValueError) as error:
        check_before_training(data, official)
    assert str(error.value).startswith(
        f"{data.path} cannot be trained on: 1 of 12 records read are not what the index "
        f"says, the first: record {official[0].eval[-1]} "
    )
    assert str(error.value).endswith(
        "; prepare the set again; division 2: 1 classes have clips to evaluate and none "
        "to train on: b; add clips of them, leave the classes out, or divide the set "
        f"otherwise; see `aemjax inspect {data.path}`"
    )
    with pytest.raises(
        ValueError, match="trained on: 1 classes have clips to evaluate"
    ):
        check_before_training(
            altered(folds, tmp_path / "set", labels=labels), official[1:2]
        )


def test_an_empty_side(folds):
    rows = np.arange(12)
    with pytest.raises(
        ValueError, match="trained on: 12 clips to train on and 0 to eva"
    ):
        check_before_training(folds, [Division(1, rows, rows[:0])])
    with pytest.raises(
        ValueError, match="trained on: 0 clips to train on and 0 to eva"
    ):
        check_before_training(folds, [Division(1, rows[:0], rows[:0])])


def test_what_is_logged(folds, official, tmp_path, caplog):
    """What is so of the set is said once, what is so of a division of each."""
    division, folder = official[0], tmp_path / "set"
    digest, group = folds.digest.tolist(), [""] * 12
    (train, mine), (held_out, too) = division.train[:2], division.eval[:2]
    digest[train] = digest[held_out]
    group[mine] = group[too] = "me"
    clips = {"full": 13, "other": 5}
    published = {"classes": 2, "clips": clips, "per_class": {}}
    data = altered(
        folds, folder, manifest={"published": published}, digest=digest, group=group
    )
    of_the_set = (
        f"{folder}: split 'full' has 12 clips, published are 13 (-1); complete it, or "
        "give the count beside every result"
    )
    groups = (
        "1 groups have clips on both sides: me; say so beside results, or divide the set "
        "by group"
    )
    copies = (
        "1 recordings are both trained and evaluated on, under several ids: "
        f"{data.id[train]} = {data.id[held_out]}; leave one of each out"
    )
    check_before_training(data, official[:1])
    assert caplog.messages == [
        of_the_set,
        f"{folder}: {groups}",
        f"{folder}: {copies}",
    ]
    caplog.clear()
    check_before_training(data, official)
    assert caplog.messages.count(of_the_set) == 1
    assert f"{folder}: division 1: {groups}" in caplog.messages
    assert f"{folder}: division 1: {copies}" in caplog.messages
    assert not any("other" in message for message in caplog.messages)


def test_few_records_are_read(ramps, monkeypatch):
    read = []
    audio = ramps.read_audio
    monkeypatch.setattr(ramps, "read_audio", lambda row: read.append(row) or audio(row))
    check_before_training(ramps, [Division(1, np.arange(20), np.arange(20, 24))])
    assert (len(read), read[0], read[15], read[16:]) == (20, 0, 19, [20, 21, 22, 23])


# Real audio.


def test_real_coughs_of_both_labels(real_audio, tmp_path):
    """The same recordings stand among the healthy and among the ill."""
    prepare("manifest", real_audio("covid19_cough"), tmp_path / "set")
    equal = inspect_set(PreparedSet(tmp_path / "set")).equal_audio
    assert (equal.clips, equal.recordings, equal.other_labels) == (132, 64, 60)
