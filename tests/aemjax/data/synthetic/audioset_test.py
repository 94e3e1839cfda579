import csv
import io
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from aemjax.data.prepare import prepare
from aemjax.data.synthetic import audioset, synthesize

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


@pytest.fixture(scope="module")
def audioset_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "audioset"
    return synthesize("audioset", folder, clips=100, classes=20, seconds=0.5)


def test_labels_file_is_the_official_one(audioset_dir):
    text = (audioset_dir / "class_labels_indices.csv").read_text()
    lines = text.splitlines()
    assert lines[0] == "index,mid,display_name" and len(lines) == 21
    assert lines[1] == '0,/m/0ugi3,"Fast rising chirp"'
    assert all(re.fullmatch(r'\d+,/[mt]/\w+,"[^"]+"', line) for line in lines[1:])
    rows = list(csv.DictReader(text.splitlines()))
    assert [int(r["index"]) for r in rows] == list(range(20))
    assert any("," in r["display_name"] for r in rows)
    assert len({r["mid"] for r in rows}) == 20


def test_segments_files_are_the_official_ones(audioset_dir):
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


def test_audio_matches_its_segments(audioset_dir):
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


def test_frequencies_have_a_tail_except_in_the_balanced_splits():
    def counts(split, clips):
        chosen = [audioset._segment(0, split, i, 20, 1.0).targets for i in range(clips)]
        return np.bincount([k for targets in chosen for k in targets], minlength=20)

    assert counts(0, 2000).max() > 4 * counts(0, 2000).min() > 0
    assert counts(1, 20).min() >= 1 and counts(2, 20).min() >= 1


def test_works_with_527_classes(tmp_path):
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
        ("ytid_start_ms", "{ytid}_{start_ms}.flac"),
        ("ytid_start_end", "{ytid}_{start_ms}_{end_ms}.wav"),
        ("ytid_start_end_s", "{ytid}_{start_s}_{end_s}.flac"),
        ("y_ytid_start_end", "Y{ytid}_{start_ms}_{end_ms}.wav"),
    ],
)
def test_namings(tmp_path, naming, pattern):
    folder = synthesize(
        "audioset", tmp_path / "twin", clips=10, seconds=0.5, naming=naming
    )
    expected = {
        pattern.format(
            ytid=s["ytid"],
            start=int(float(s["start"])),
            start_ms=round(1000 * float(s["start"])),
            end_ms=round(1000 * float(s["end"])),
            start_s=s["start"],
            end_s=s["end"],
        )
        for split in SPLITS
        for s in _segments(folder, split)[1]
    }
    assert {path.name for path in (folder / "audio").iterdir()} == expected


@pytest.mark.parametrize("naming", audioset.NAMINGS)
def test_prepared_every_naming_is_found_in_subfolders(tmp_path, naming):
    options = {"clips": 20, "classes": 5, "seconds": 0.5, "naming": naming}
    folder = synthesize("audioset", tmp_path / "twin", **options, subfolders=True)
    ytids = {s["ytid"] for split in SPLITS for s in _segments(folder, split)[1]}
    assert {path.name for path in (folder / "audio").iterdir()} == {
        ytid[:2] for ytid in ytids
    }
    manifest = prepare("audioset", folder, tmp_path / "set")
    assert manifest["kept"] == manifest["listed"] == 20
    clips = {name: split["clips"] for name, split in manifest["splits"].items()}
    assert clips == {"unbalanced_train": 14, "balanced_train": 3, "eval": 3}


def test_lists_with_a_plain_header_say_the_same(tmp_path):
    options = {"clips": 20, "classes": 5, "seconds": 0.5}
    official = synthesize("audioset", tmp_path / "official", **options)
    plain = synthesize("audioset", tmp_path / "plain", **options, plain_header=True)
    for split in SPLITS:
        text = (plain / f"{split}_segments.csv").read_text()
        header, *lines = text.splitlines()
        assert header == "YTID,start_seconds,end_seconds,positive_labels"
        assert "#" not in text and ", " not in text
        segments = [list(s.values()) for s in _segments(official, split)[1]]
        assert list(csv.reader(lines)) == segments
    checksums = {
        prepare("audioset", source, tmp_path / "sets" / source.name)["checksum"]
        for source in (official, plain)
    }
    assert len(checksums) == 1


def test_parquet_files_are_in_the_form_of_hugging_face(tmp_path):
    options = {"clips": 200, "classes": 5, "seconds": 0.5}
    folder = synthesize("audioset", tmp_path / "twin", **options, layout="parquet")
    files = synthesize("audioset", tmp_path / "files", **options)
    assert sorted(_contents(folder)) == [
        "class_labels_indices.csv",
        *(f"data/bal_train/{n:02d}.parquet" for n in range(2)),
        *(f"data/eval/{n:02d}.parquet" for n in range(2)),
        *(f"data/unbal_train/{n:03d}.parquet" for n in range(3)),
    ]
    with open(folder / "class_labels_indices.csv", newline="") as file:
        names = {row["mid"]: row["display_name"] for row in csv.DictReader(file)}
    for split, name in audioset.PARQUET_FOLDERS.items():
        rows = []
        for path in sorted((folder / "data" / name).iterdir()):
            with pq.ParquetFile(path) as file:
                assert file.num_row_groups >= 2
                rows += file.read().to_pylist()
        segments = {s["ytid"]: s for s in _segments(files, split)[1]}
        assert {row["video_id"] for row in rows} == segments.keys()
        assert len(rows) == len(segments)
        for row in rows:
            mids = segments[row["video_id"]]["mids"]
            assert ",".join(sorted(row["labels"])) == mids
            assert row["human_labels"] == [names[mid] for mid in row["labels"]]
            assert row["audio"].keys() == {"bytes", "path"}
            assert row["audio"]["path"] == f"{row['video_id']}.flac"
        audio = rows[0]["audio"]["bytes"]
        info = soundfile.info(io.BytesIO(audio))
        assert (info.format, info.subtype) == ("FLAC", "PCM_24")
        same = soundfile.read(files / "audio" / f"Y{rows[0]['video_id']}.wav")
        wave, rate = soundfile.read(io.BytesIO(audio))
        assert rate == same[1] and np.allclose(wave, same[0], atol=1e-4)


def test_prepared_parquet_files_and_audio_files_count_the_same(tmp_path):
    options = {"clips": 60, "classes": 5, "seconds": 0.5, "missing": 0.1}
    manifests = []
    for layout in audioset.LAYOUTS:
        source = synthesize("audioset", tmp_path / layout, **options, layout=layout)
        out = tmp_path / "sets" / layout
        manifests.append(prepare("audioset", source, out, allow_missing=True))
    files, parquet = manifests
    assert files["listed"] == 60 and files["kept"] < 60
    assert parquet["kept"] == parquet["listed"] == files["kept"]
    for split in SPLITS:
        assert (
            parquet["splits"][split]["clips_per_class"]
            == (files["splits"][split]["clips_per_class"])
        )


def test_can_lack_audio(tmp_path):
    options = {"clips": 60, "classes": 5, "seconds": 0.5}
    whole = synthesize("audioset", tmp_path / "whole", **options)
    part = synthesize("audioset", tmp_path / "part", **options, missing=0.3)
    whole, part = _contents(whole), _contents(part)
    assert part.items() < whole.items() and 30 < len(part) - 4 < 54
    assert {k for k in whole.keys() - part.keys() if not k.startswith("audio")} == set()
