import collections
import csv
import re

import numpy as np
import pytest
import soundfile

from aemjax.data import sounds
from aemjax.data.synthetic import audioset, esc50, synthesize

SEGMENT = re.compile(
    r'(?P<ytid>[A-Za-z0-9_-]{11}), (?P<start>\d+\.\d{3}), (?P<end>\d+\.\d{3}), "(?P<mids>[^"]+)"'
)
SPLITS = ("unbalanced_train", "balanced_train", "eval")


def _contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _segments(folder, split):
    lines = (folder / f"{split}_segments.csv").read_text().splitlines()
    return lines[:3], [SEGMENT.fullmatch(line).groupdict() for line in lines[3:]]


def _esc50_rows(folder):
    with open(folder / "meta" / "esc50.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def audioset_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "audioset"
    return synthesize("audioset", folder, clips=100, classes=20, seconds=0.5)


@pytest.fixture(scope="module")
def esc50_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "esc50"
    return synthesize("esc50", folder, clips=240, classes=12, seconds=0.5)


@pytest.mark.parametrize("name, clips", [("audioset", 40), ("esc50", 50)])
def test_files_are_a_function_of_the_seed(tmp_path, name, clips):
    def make(folder, seed, **options):
        synthesize(
            name,
            tmp_path / folder,
            clips=clips,
            seed=seed,
            classes=5,
            seconds=0.5,
            **options,
        )
        return _contents(tmp_path / folder)

    first, parallel, other = make("a", 7), make("b", 7, workers=2), make("c", 8)
    assert first == parallel
    wavs = [{v for k, v in files.items() if "audio" in k} for files in (first, other)]
    assert len(wavs[0]) == clips and not wavs[0] & wavs[1]


@pytest.mark.parametrize("name", ["audioset", "esc50"])
def test_a_clip_does_not_depend_on_how_many_there_are(tmp_path, name):
    for clips in (40, 80):
        synthesize(name, tmp_path / str(clips), clips=clips, classes=4, seconds=0.5)
    few, many = (_contents(tmp_path / n / "audio") for n in ("40", "80"))
    assert len(few) == 40 and len(many) == 80
    assert few.items() <= many.items()


def test_esc50_layout_is_the_official_one(esc50_dir):
    text = (esc50_dir / "meta" / "esc50.csv").read_bytes().decode()
    header = "filename,fold,target,category,esc10,src_file,take\n"
    assert text.startswith(header) and "\r" not in text
    rows = _esc50_rows(esc50_dir)
    assert len(rows) == 240
    assert {r["filename"] for r in rows} == set(_contents(esc50_dir / "audio"))
    for row in rows:
        assert row["filename"] == "{fold}-{src_file}-{take}-{target}.wav".format(**row)
        assert re.fullmatch(r"\d{6}", row["src_file"]) and row["take"] in "ABCD"
        assert row["category"] == esc50.CLASSES[int(row["target"])].name
        assert row["esc10"] == str(int(row["target"]) < 10)
        info = soundfile.info(esc50_dir / "audio" / row["filename"])
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (
            (44100, 1, "PCM_16", 22050)
        )


def test_esc50_folds_are_balanced_and_sources_stay_in_one(esc50_dir):
    rows = _esc50_rows(esc50_dir)
    cells = collections.Counter((r["fold"], r["target"]) for r in rows)
    assert len(cells) == 5 * 12 and set(cells.values()) == {4}
    takes = collections.defaultdict(list)
    for row in rows:
        takes[row["src_file"]].append((row["fold"], row["target"], row["take"]))
    for found in takes.values():
        assert len({key[:2] for key in found}) == 1
        assert [key[2] for key in found] == list("ABCD")[: len(found)]
    assert {len(found) for found in takes.values()} == {1, 2, 3, 4}


def test_full_size_esc50_has_unique_names():
    chosen = [
        clip
        for fold in range(1, 6)
        for target in range(50)
        for clip in esc50._sources(3, fold, target, 8)
    ]
    names = [esc50._names(clip, 3) for clip in chosen]
    assert len({name for name, _, _ in names}) == 2000
    assert len({source for _, source, _ in names}) == len({c[:3] for c in chosen})


def test_audioset_labels_file_is_the_official_one(audioset_dir):
    text = (audioset_dir / "class_labels_indices.csv").read_text()
    lines = text.splitlines()
    assert lines[0] == "index,mid,display_name" and len(lines) == 21
    assert lines[1] == '0,/m/0ugi3,"Fast rising chirp"'
    assert all(re.fullmatch(r'\d+,/[mt]/\w+,"[^"]+"', line) for line in lines[1:])
    rows = list(csv.DictReader(text.splitlines()))
    assert [int(r["index"]) for r in rows] == list(range(20))
    assert any("," in r["display_name"] for r in rows)
    assert len({r["mid"] for r in rows}) == 20


def test_audioset_segments_files_are_the_official_ones(audioset_dir):
    ytids = []
    for split, clips in zip(SPLITS, (70, 15, 15), strict=True):
        comments, segments = _segments(audioset_dir, split)
        mids = [mid for s in segments for mid in s["mids"].split(",")]
        assert comments[0].startswith("# Segments csv created ")
        assert comments[1] == (
            f"# num_ytids={clips}, num_segs={clips}, "
            f"num_unique_labels={len(set(mids))}, num_positive_labels={len(mids)}"
        )
        assert comments[2] == "# YTID, start_seconds, end_seconds, positive_labels"
        assert len(segments) == clips
        assert [s["ytid"] for s in segments] == sorted(s["ytid"] for s in segments)
        assert set(mids) <= {audioset._mid(k) for k in range(20)}
        assert {len(s["mids"].split(",")) for s in segments} == {1, 2, 3}
        ytids += [s["ytid"] for s in segments]
    assert len(set(ytids)) == 100
    assert {"-", "_"} < {ytid[0] for ytid in ytids}


def test_audioset_audio_matches_its_segments(audioset_dir):
    rates, channels, lengths_s = set(), set(), []
    for split in SPLITS:
        for segment in _segments(audioset_dir, split)[1]:
            path = audioset_dir / "audio" / f"Y{segment['ytid']}.wav"
            wave, rate = soundfile.read(path, always_2d=True)
            length_s = float(segment["end"]) - float(segment["start"])
            assert abs(len(wave) - length_s * rate) < 1
            assert 0.02 < np.abs(wave).max() < 1
            assert soundfile.info(path).subtype == "PCM_16"
            rates.add(rate)
            channels.add(wave.shape[1])
            lengths_s.append(length_s)
    assert len(list((audioset_dir / "audio").iterdir())) == 100
    assert rates == {16000, 22050, 44100, 48000} and channels == {1, 2}
    assert max(lengths_s) == 0.5 and 0 < np.mean(np.array(lengths_s) < 0.499) < 0.2


def test_audioset_frequencies_have_a_tail_except_in_the_balanced_splits():
    def counts(split, clips):
        chosen = [audioset._segment(0, split, i, 20, 1.0).targets for i in range(clips)]
        return np.bincount([k for targets in chosen for k in targets], minlength=20)

    assert counts(0, 2000).max() > 4 * counts(0, 2000).min() > 0
    assert counts(1, 20).min() >= 1 and counts(2, 20).min() >= 1


def test_audioset_works_with_527_classes(tmp_path):
    synthesize("audioset", tmp_path / "twin", clips=20, classes=527, seconds=0.5)
    text = (tmp_path / "twin" / "class_labels_indices.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert len({r["mid"] for r in rows}) == len({r["display_name"] for r in rows})
    assert len(rows) == 527


@pytest.mark.parametrize(
    "naming, pattern",
    [
        ("ytid", "{ytid}.wav"),
        ("y_ytid", "Y{ytid}.wav"),
        ("ytid_start", "{ytid}_{start}.wav"),
        ("ytid_start_end", "{ytid}_{start}000_{end_ms}.wav"),
    ],
)
def test_audioset_namings(tmp_path, naming, pattern):
    folder = synthesize(
        "audioset", tmp_path / "twin", clips=10, seconds=0.5, naming=naming
    )
    expected = {
        pattern.format(
            ytid=s["ytid"],
            start=int(float(s["start"])),
            end_ms=round(1000 * float(s["end"])),
        ).replace("_0000_", "_0_")
        for split in SPLITS
        for s in _segments(folder, split)[1]
    }
    assert {path.name for path in (folder / "audio").iterdir()} == expected


def test_audioset_can_lack_audio(tmp_path):
    options = {"clips": 60, "classes": 5, "seconds": 0.5}
    whole = synthesize("audioset", tmp_path / "whole", **options)
    part = synthesize("audioset", tmp_path / "part", **options, missing=0.3)
    whole, part = _contents(whole), _contents(part)
    assert part.items() < whole.items() and 30 < len(part) - 4 < 54
    assert {k for k in whole.keys() - part.keys() if not k.startswith("audio")} == set()


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("esc51", {}, r"unknown twin 'esc51'; known: \['audioset', 'esc50'\]"),
        ("esc50", {"clips": 20}, "multiple of 5 folds .* 50 classes = 250"),
        ("esc50", {"clips": 0}, "positive multiple"),
        ("esc50", {"classes": 51}, "2 to 50"),
        ("esc50", {"seconds": 0.1}, "at least 0.5"),
        ("esc50", {"clips": 250, "workers": 0}, "workers is 0"),
        ("audioset", {"naming": "id"}, r"unknown naming 'id'; known: \['y_ytid'"),
        ("audioset", {"clips": 3}, "every split needs one"),
        ("audioset", {"classes": 600}, "600 sound classes"),
        ("audioset", {"seconds": 0}, "at least 0.5"),
        ("audioset", {"missing": 1.5}, "missing is 1.5"),
        ("audioset", {"splits": {"eval": 1.0}}, "add up to 1"),
    ],
)
def test_bad_options_are_named_and_leave_nothing(tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        synthesize(name, tmp_path / "twin", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sounds, "record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        synthesize("audioset", tmp_path / "twin", clips=20)
    assert list(tmp_path.iterdir()) == []


def test_only_an_empty_folder_is_written_to(tmp_path):
    (tmp_path / "twin").mkdir()
    options = {"clips": 10, "classes": 2, "seconds": 0.5}
    synthesize("esc50", tmp_path / "twin", **options)
    before = _contents(tmp_path / "twin")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        synthesize("esc50", tmp_path / "twin", **options)
    assert _contents(tmp_path / "twin") == before
