"""What the reader of AudioSet lists, and what it says of malformed folders."""

import collections

import pytest

from aemjax.data import audioset, catalog
from aemjax.data.clips import Clip


@pytest.fixture
def audioset_dir(tmp_path, audioset_at):
    return audioset_at(tmp_path / "audioset")


def test_audioset_lists_every_segment(audioset_dir):
    listing = audioset.read(audioset_dir)
    assert listing.label_names == ("Speech", "Male speech, man", "Silence")
    assert listing.clips == (
        Clip(
            id="abcdefghijk_30",
            source=str(audioset_dir / "abcdefghijk.wav"),
            labels=(0, 1),
            split="balanced_train",
            group="abcdefghijk",
        ),
        Clip(
            id="-bcdefghij__0",
            source=str(audioset_dir / "-bcdefghij_.wav"),
            labels=(2,),
            split="balanced_train",
            group="-bcdefghij_",
        ),
        Clip(
            id="_bcdefghijk_110.5",
            source=str(audioset_dir / "_bcdefghijk.wav"),
            labels=(1,),
            split="eval",
            group="_bcdefghijk",
        ),
    )


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_audioset_copies_with_a_plain_header(audioset_dir, mark):
    want = audioset.read(audioset_dir)
    for path in audioset_dir.glob("*_segments.csv"):
        rows = path.read_text().splitlines()[3:]
        header = f"{mark}YTID,start_seconds,end_seconds,positive_labels"
        rows = [row.replace(", ", ",") for row in rows]
        path.write_text("\r\n".join([header, *rows, ""]))
    assert audioset.read(audioset_dir) == want


@pytest.mark.parametrize(
    "ids", [("abcdefghijk", 30, 40), ("-bcdefghij_", 0, 10), ("_bcdefghijk", 110.5, 0)]
)
@pytest.mark.parametrize(
    "naming",
    [
        "{0}.wav",
        "Y{0}.wav",
        "{0}_{1:.0f}.wav",
        "Y{0}_{1:.0f}.flac",
        "{0}_{2:.0f}.wav",
        "{0}_{1:.0f}_{3:.0f}.ogg",
        "{0}_{2:.0f}_{4:.0f}.flac",
        "Y{0}_{2:.0f}_{4:.0f}.WAV",
        "{0}_{1:.3f}.wav",
        "Y{0}_{1:.3f}_{3:.3f}.mp3",
        "balanced_train/{0}.wav",
        "audio/{5}/{0}_{2:.0f}.wav",
    ],
)
def test_audioset_finds_every_naming(tmp_path, audioset_at, naming, ids):
    ytid, start_s, end_s = ids
    end_s = end_s or 113.25
    folder = audioset_at(tmp_path, names=())
    name = naming.format(
        ytid, start_s, 1000 * start_s, end_s, 1000 * end_s, ytid.lower()[:2]
    )
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    sources = {clip.group: clip.source for clip in audioset.read(folder).clips}
    assert sources.pop(ytid) == str(folder / name)
    assert set(sources.values()) == {None}


def test_audioset_takes_the_segment_of_the_right_start(tmp_path, audioset_at):
    folder = audioset_at(tmp_path, names=())
    (folder / "abcdefghijk_60.wav").touch()
    (folder / "abcdefghijk_30000.txt").touch()
    assert not [clip.id for clip in audioset.read(folder).clips if clip.source]


def test_audioset_unknown_class(audioset_dir, edit):
    edit(audioset_dir / "eval_segments.csv", "/m/0b", "/m/0b,/m/0zzz")
    with pytest.raises(
        ValueError,
        match=r"eval_segments.csv:4: unknown classes \['/m/0zzz'\]; class_labels",
    ):
        audioset.read(audioset_dir)


@pytest.mark.parametrize(
    "row",
    [
        'abcdefghijk, thirty, 40.000, "/m/0a"',
        "abcdefghijk, 30.000, 40.000, /m/0a,/m/0b",
        "abcdefghijk",
    ],
)
def test_audioset_malformed_row(audioset_dir, row):
    with (audioset_dir / "balanced_train_segments.csv").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(
        ValueError, match="train_segments.csv:6: .* is not 'YTID, start"
    ):
        audioset.read(audioset_dir)


def test_audioset_csv_that_is_not_utf_8(audioset_dir):
    (audioset_dir / "eval_segments.csv").write_bytes(b"caf\xe9, 0, 10, /m/0b\n")
    with pytest.raises(ValueError, match="eval_segments.csv is not UTF-8 .*; save it"):
        audioset.read(audioset_dir)


def test_audioset_without_its_csv_files(audioset_dir):
    for path in audioset_dir.glob("*_segments.csv"):
        path.unlink()
    with pytest.raises(ValueError, match="holds none of .*'eval_segments.csv'"):
        audioset.read(audioset_dir)
    (audioset_dir / "class_labels_indices.csv").unlink()
    with pytest.raises(ValueError, match="class_labels_indices.csv does not exist; is"):
        audioset.read(audioset_dir)


@pytest.mark.parametrize(
    "index, message", [("3", r"not 0\.\.2, each once"), ("x", "csv:2: index is 'x'")]
)
def test_audioset_malformed_class_list(audioset_dir, index, message, edit):
    edit(audioset_dir / "class_labels_indices.csv", "\n0,", f"\n{index},")
    with pytest.raises(ValueError, match=message):
        audioset.read(audioset_dir)


def test_audioset_lists_as_published(real_audio):
    listing = audioset.read(real_audio("audioset_meta"))
    assert len(listing.label_names) == 527
    clips = collections.Counter(clip.split for clip in listing.clips)
    published = catalog.get("audioset").published_clips
    assert clips == {name: published[name] for name in ("balanced_train", "eval")}
