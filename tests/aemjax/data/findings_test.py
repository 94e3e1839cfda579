"""What is said of faults in an index and in records."""

import numpy as np
import pytest

from aemjax.data import findings
from aemjax.data.duplicates import EqualAudio
from tests.aemjax.data.altered import altered

ROWS = np.arange(12)


@pytest.fixture(scope="module")
def twelve(set_of):
    """12 clips of classes a, b and c."""
    return set_of([("abc"[i % 3], "full", 0, "") for i in range(12)])


@pytest.fixture
def alter(twelve, tmp_path):
    return lambda **changes: altered(twelve, tmp_path / "set", **changes)


def published(classes=None, clips=None, per_class=None):
    return {
        "published": {
            "classes": classes,
            "clips": clips or {},
            "per_class": per_class or {},
        }
    }


def said(found, level="warning"):
    """The text of the one finding."""
    (finding,) = found
    assert finding.level == level
    return finding.text


def test_nothing_is_said_of_a_good_set(twelve):
    assert findings.about_counts(twelve, ["full"]) == []
    assert findings.about_levels(twelve, ROWS) == []
    assert findings.about_recording(twelve) == []
    assert findings.about_records(twelve, ROWS) == []
    assert findings.about_copies_across(twelve, ROWS[:6], ROWS[6:]) == []


def test_published_counts(alter):
    assert not findings.about_counts(
        alter(manifest=published(3, {"full": 12}, {"full": dict.fromkeys("abc", 4)})),
        ["full"],
    )
    data = alter(manifest=published(4, {"full": 14, "more": 2}))
    classes, full, more = (
        f.text for f in findings.about_counts(data, ["full", "more"])
    )
    assert classes == (
        "3 classes, published are 4: the set is not whole, or not this one"
    )
    assert full == (
        "split 'full' has 12 clips, published are 14 (-2); complete it, or give the "
        "count beside every result"
    )
    assert more.startswith("split 'more' has 0 clips, published are 2 (-2); complete")


def test_published_counts_of_classes(alter):
    """Their sum is right."""
    per_class = {"full": {"a": 4, "b": 5, "d": 3}}
    data = alter(manifest=published(None, {"full": 12}, per_class))
    assert said(findings.about_counts(data, ["full"])) == (
        "split 'full' has 12 clips, published are 12 (+0); 2 classes differ: 'b' 4 of 5, "
        "'d' 0 of 3; complete it, or give the count beside every result"
    )


def test_clips_left_out(alter):
    data = alter(manifest={"skipped": {"missing": 3, "unreadable": 0}})
    assert said(findings.about_counts(data, ["full"])) == (
        "clips were left out (3 missing, 0 unreadable); skipped.csv says which and why"
    )


@pytest.mark.parametrize(
    "column, value",
    [
        ("mean", np.nan),
        ("mean", -1.5),
        ("std", np.nan),
        ("std", np.inf),
        ("std", -0.1),
        ("std", 3277.0),
    ],
)
def test_statistics_that_audio_cannot_have(alter, twelve, column, value):
    values = getattr(twelve, column).tolist()
    values[4] = values[7] = value
    data = alter(**{column: values})
    text = said(findings.about_levels(data, ROWS), "error")
    assert text.startswith("2 clips have a mean or a standard deviation that audio in")
    assert f"the first: '{data.id[4]}' with {data.mean[4]:g} and" in text
    assert text.endswith("or the index is damaged: prepare the set again")
    assert findings.about_levels(data, np.delete(ROWS, [4, 7])) == []


def test_silence(alter, twelve):
    data = alter(std=[0.0, 3.1e-4, 2.9e-4, *twelve.std.tolist()[3:]])
    assert said(findings.about_levels(data, ROWS)) == (
        "2 of 12 clips are nearly silent (standard deviation below 3.1e-04), 1 of them "
        f"digital silence: {data.id[0]}, {data.id[2]}; listen to them"
    )
    assert findings.about_levels(data, ROWS[3:]) == []


def test_floats_stored_as_integers(alter, twelve):
    """Cast without scaling, all but samples at full scale become 0."""
    std = [1e-5] * 7 + twelve.std.tolist()[7:]
    text = said(findings.about_levels(alter(std=std), ROWS), "error")
    assert text.startswith("7 of 12 clips are nearly silent (standard deviation below ")
    assert "floats were most likely stored without conversion; correct the" in text


def test_integers_stored_as_floats(alter):
    """Scaled again, all but zeros are at full scale."""
    clipped = [100] * 7 + [0] * 5
    text = said(findings.about_levels(alter(clipped_samples=clipped), ROWS), "error")
    assert text == (
        "7 of 12 clips are mostly at full scale: integers were most likely stored "
        "without conversion; correct the source and prepare it again"
    )


def test_offset(alter, twelve):
    std = twelve.std.tolist()
    data = alter(mean=[-1.01 * std[0], 0.99 * std[1]] + [0.0] * 10)
    assert said(findings.about_recording(data)) == (
        f"1 clips have a constant offset above their standard deviation: {data.id[0]}; "
        "standardising removes it, but listen to them: samples of another format may "
        "have been misread"
    )


def test_clipping(alter):
    """0.1 % of 16,000 samples are 16."""
    data = alter(n_samples=[16_000] * 12, clipped_samples=[17, 16, *[0] * 10])
    assert said(findings.about_recording(data)) == (
        "1 of 12 clips have over 0.1% of their samples at full scale: "
        f"{data.id[0]}; use a source that is not overdriven, where there is one"
    )


def test_narrow_files(alter):
    data = alter(source_rate=[4000, 10_000, 16_000, 44_100] * 3)
    assert said(findings.about_recording(data)) == (
        "6 of 12 clips come from files of 4000, 10000 Hz, expected 16000 or more: they "
        "hold nothing above half their rate; if a class has more of them than others, a "
        "model learns the rate"
    )


def test_records_that_are_not_what_the_index_says(alter, twelve):
    std = twelve.std.tolist()
    data = alter(std=[*std[:6], *(1.01 * s for s in std[6:])])
    assert findings.about_records(data, ROWS[:6]) == []
    text = said(findings.about_records(data, ROWS), "error")
    assert text.startswith(
        "6 of 12 records read are not what the index says, the first: record 6 "
        f"({data.id[6]}) has mean {twelve.mean[6]:g} and standard deviation {std[6]:g}, "
        f"its index says {twelve.mean[6]:g} and {data.std[6]:g}; prepare the set again"
    )


def test_records_of_another_length(alter):
    data = alter(n_samples=[160] * 11 + [320])
    assert said(findings.about_records(data, ROWS), "error") == (
        "1 of 12 records read are not what the index says, the first: "
        f"{data.path}: record 11 ({data.id[11]}) cannot be read: 160 samples, not 320; "
        "prepare the set again"
    )


def test_records_of_another_type(twelve, monkeypatch):
    pcm = twelve.read_audio(0)
    monkeypatch.setattr(twelve, "read_audio", lambda row: pcm.astype(np.int32))
    assert said(findings.about_records(twelve, ROWS[:1]), "error") == (
        "1 of 1 records read are not what the index says, the first: record 0 "
        f"({twelve.id[0]}) holds int32, expected int16; prepare the set again"
    )


def test_a_side_without_clips(twelve):
    none = np.array([], int)
    assert said(findings.about_division(twelve, ROWS, none), "error") == (
        "12 clips to train on and 0 to evaluate, expected some of each; divide the set "
        "otherwise"
    )
    assert said(findings.about_division(twelve, none, ROWS[:3]), "error").startswith(
        "0 "
    )


def test_classes_of_one_side(alter):
    data = alter(labels=[[0, 1]] * 6 + [[0, 2]] * 6)
    errors, warnings = findings.about_division(data, ROWS[:6], ROWS[6:])
    assert (errors.level, errors.text) == (
        "error",
        "1 classes have clips to evaluate and none to train on: c; add clips of them, "
        "leave the classes out, or divide the set otherwise",
    )
    assert (warnings.level, warnings.text) == (
        "warning",
        "1 classes have no clips to evaluate: b; means over classes are over the others",
    )
    assert findings.about_division(data, ROWS[3:9], ROWS) == []


def test_groups_and_devices_of_both_sides(alter):
    group = ["218", "156", "", "101", "102", "103", "156", "218", "", "1", "2", "3"]
    device = ["Meditron"] * 5 + ["AKG"] + ["Meditron"] * 4 + ["Litt3200", ""]
    data = alter(labels=[[0, 1, 2]] * 12, group=group, device=device)
    groups, devices = findings.about_division(data, ROWS[:6], ROWS[6:])
    assert groups.text == (
        "2 groups have clips on both sides: 156, 218; say so beside results, or divide "
        "the set by group"
    )
    assert devices.text == (
        "1 devices are evaluated and not trained on: Litt3200; report results per device"
    )


def test_copies_across_a_division(alter):
    digest = [*"abcdef", *"ghciac"]
    std = [0.0] + [0.1] * 11
    data = alter(digest=digest, std=std)
    text = said(findings.about_copies_across(data, ROWS[:6], ROWS[6:]))
    assert text == (
        "1 recordings are both trained and evaluated on, under several ids: "
        f"{data.id[2]} = {data.id[8]}; leave one of each out"
    )
    assert findings.about_copies_across(data, ROWS[:2], ROWS[6:]) == []


def test_equal_audio():
    assert findings.about_equal_audio(EqualAudio(0, 0, 0, 0, 0, ())) == []
    examples = tuple((f"{i}", f"{i}x") for i in range(8))
    assert said(findings.about_equal_audio(EqualAudio(19, 9, 4, 3, 2, examples))) == (
        "19 clips are 9 recordings under several ids, 4 of them with different labels, 3 "
        "in several splits, 2 in several folds: 0 = 0x, 1 = 1x, 2 = 2x, 3 = 3x, 4 = 4x "
        "and 4 more; leave copies out, or say so beside results"
    )


def test_class_counts(ramps):
    """Clip i has the first 1 + i % 3 of the labels."""
    assert findings.class_counts(ramps, np.arange(24)) == {"a": 24, "b": 16, "c": 8}
    rows = np.array([5, 0, 17])
    want = ramps.labels_multi_hot(rows).sum(axis=0).astype(int).tolist()
    assert list(findings.class_counts(ramps, rows).values()) == want
    assert findings.class_counts(ramps, rows[:0]) == {"a": 0, "b": 0, "c": 0}


@pytest.mark.parametrize(
    "count, want", [(1, [3]), (2, [3, 7]), (3, [3, 5, 7]), (5, [3, 4, 5, 6, 7])]
)
def test_spread(count, want):
    assert findings.spread(np.arange(3, 8), count).tolist() == want
    assert findings.spread(np.arange(3, 3), count).tolist() == []
    assert findings.spread(np.arange(3, 8), 99).tolist() == [3, 4, 5, 6, 7]
