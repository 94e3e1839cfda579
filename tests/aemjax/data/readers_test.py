"""What the readers list of official folders, and what they say of malformed ones."""

import collections
import shutil

import pytest

from aemjax.data import audioset, catalog, esc50, manifest, urbansound8k
from aemjax.data.clips import Clip, read_csv

URBAN_COLUMNS = (
    "slice_file_name",
    "fsID",
    "start",
    "end",
    "salience",
    "fold",
    "classID",
    "class",
)


@pytest.fixture
def esc50_dir(tmp_path, esc50_at):
    return esc50_at(tmp_path / "esc50")


@pytest.fixture
def audioset_dir(tmp_path, audioset_at):
    return audioset_at(tmp_path / "audioset")


def by_id(listing):
    return {clip.id: clip for clip in listing.clips}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# Csv files in general.


def test_csv_with_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfpath,label\r\n"x, y.wav", dog\r\n')
    assert list(read_csv(path, ("path",))) == [{"path": "x, y.wav", "label": "dog"}]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"path;label\n", r"a.csv lacks the columns \['path', 'label'\]; it has"),
        (b"", r"a.csv lacks the columns \['path', 'label'\]; it has \[\], expected"),
        (b"path,label\nx,1\ny\n", r"a.csv:3: no fields \['label'\]"),
        (b"path,label\nx,dog\n", "a.csv:2: label is 'dog', expected a whole number"),
        (b"path,label\n\xe9,1\n", "a.csv is not UTF-8 .* save it as UTF-8"),
    ],
)
def test_malformed_csv(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_csv(tmp_path / "a.csv", ("path", "label"), whole=("label",)))


def test_unknown_dataset():
    with pytest.raises(ValueError, match="unknown dataset 'esc5'; known: .*'esc50'"):
        catalog.get("esc5")


# AudioSet.


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


def test_audioset_unknown_class(audioset_dir):
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
def test_audioset_malformed_class_list(audioset_dir, index, message):
    edit(audioset_dir / "class_labels_indices.csv", "\n0,", f"\n{index},")
    with pytest.raises(ValueError, match=message):
        audioset.read(audioset_dir)


# ESC-50.


def test_esc50_lists_every_row(esc50_dir):
    listing = esc50.read(esc50_dir)
    assert listing.label_names == ("dog", "rooster", "door")
    assert len(listing.clips) == 30
    assert by_id(listing)["2-102-B-7"] == Clip(
        id="2-102-B-7",
        source=str(esc50_dir / "audio" / "2-102-B-7.wav"),
        labels=(1,),
        fold=2,
        group="102",
    )


def test_esc10_is_renumbered(esc50_dir):
    edit(esc50_dir / "meta" / "esc50.csv", "7,rooster,True", "7,rooster,False")
    edit(esc50_dir / "meta" / "esc50.csv", "30,door,False", "30,door,True")
    listing = esc50.read_esc10(esc50_dir)
    assert listing.label_names == ("dog", "door")
    assert {clip.id.split("-")[3]: clip.labels for clip in listing.clips} == {
        "0": (0,),
        "30": (1,),
    }
    assert len(listing.clips) == 20


@pytest.mark.parametrize("read", [esc50.read, esc50.read_esc10])
def test_esc50_copy_saved_by_a_spreadsheet(esc50_dir, read):
    want = read(esc50_dir)
    path = esc50_dir / "meta" / "esc50.csv"
    text = path.read_text().replace("True", "TRUE").replace("False", "FALSE")
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read(esc50_dir) == want


def test_esc50_finds_another_extension_by_stem(esc50_dir):
    audio = esc50_dir / "audio"
    (audio / "1-101-A-0.wav").rename(audio / "1-101-A-0.flac")
    (audio / "1-101-B-0.wav").unlink()
    clips = by_id(esc50.read(esc50_dir))
    assert clips["1-101-A-0"].source == str(audio / "1-101-A-0.flac")
    assert clips["1-101-B-0"].source is None


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("src_file", "source", r"esc50.csv lacks the columns \['src_file'\]; it has"),
        ("4,7,rooster", "four,7,rooster", "esc50.csv:22: fold is 'four', expected a"),
        ("5,7,rooster", "5,7,hen", "target 7 is both 'hen' and 'rooster'"),
    ],
)
def test_esc50_malformed_csv(esc50_dir, old, new, message):
    edit(esc50_dir / "meta" / "esc50.csv", old, new)
    with pytest.raises(ValueError, match=message):
        esc50.read(esc50_dir)


def test_esc50_without_esc10_rows(esc50_dir):
    edit(esc50_dir / "meta" / "esc50.csv", "True", "False")
    with pytest.raises(ValueError, match="esc50.csv lists no clips to use"):
        esc50.read_esc10(esc50_dir)


def test_esc50_wrong_folder(tmp_path):
    with pytest.raises(ValueError, match="esc50.csv does not exist; is this the"):
        esc50.read(tmp_path)


# UrbanSound8K.


@pytest.fixture
def urban_dir(tmp_path, table):
    rows = [
        ("100-0-0-0.wav", 100, 0.0, 0.3, 1, 1, 0, "air_conditioner"),
        ("200-3-0-1.wav", 200, 2.0, 6.0, 2, 10, 3, "dog_bark"),
        ("200-3-0-2.wav", 200, 6.0, 10.0, 2, 10, 3, "dog_bark"),
        ("300-1-0-0.wav", 300, 0.0, 4.0, 1, 2, 1, "car_horn"),
    ]
    table(tmp_path / "metadata" / "UrbanSound8K.csv", URBAN_COLUMNS, rows)
    for name in ("fold1/100-0-0-0.wav", "fold10/200-3-0-1.ogg", "fold2/300-1-0-0.wav"):
        path = tmp_path / "audio" / name
        path.parent.mkdir(parents=True)
        path.touch()
    return tmp_path


def test_urbansound8k_lists_every_row(urban_dir):
    listing = urbansound8k.read(urban_dir)
    assert listing.label_names == ("air_conditioner", "car_horn", "dog_bark")
    clips = by_id(listing)
    assert len(clips) == 4
    assert clips["200-3-0-1"] == Clip(
        id="200-3-0-1",
        source=str(urban_dir / "audio" / "fold10" / "200-3-0-1.ogg"),
        labels=(2,),  # numbered without the gap that class 2 leaves
        fold=10,
        group="200",
    )
    assert clips["200-3-0-2"].source is None


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("fsID", "id", r"lacks the columns \['fsID'\]"),
        ("2,10,3,", "2,10,x,", "UrbanSound8K.csv:3: classID is 'x', expected a whole"),
    ],
)
def test_urbansound8k_malformed_csv(urban_dir, old, new, message):
    edit(urban_dir / "metadata" / "UrbanSound8K.csv", old, new)
    with pytest.raises(ValueError, match=message):
        urbansound8k.read(urban_dir)


def test_urbansound8k_without_rows(urban_dir, table):
    table(urban_dir / "metadata" / "UrbanSound8K.csv", URBAN_COLUMNS, [])
    with pytest.raises(ValueError, match="UrbanSound8K.csv lists no clips"):
        urbansound8k.read(urban_dir)


# Your own.


def test_manifest_with_path_and_label(tmp_path, table):
    (tmp_path / "a.wav").touch()
    path = table(
        tmp_path / "set.csv", ("path", "label"), [("a.wav", "dog"), ("b.wav", "cat")]
    )
    listing = manifest.read(path)
    assert listing.label_names == ("cat", "dog")
    assert listing.clips == (
        Clip(id="a.wav", source=str(tmp_path / "a.wav"), labels=(1,)),
        Clip(id="b.wav", source=None, labels=(0,)),  # it does not exist
    )
    assert manifest.read(tmp_path) == listing


def test_manifest_with_every_column(tmp_path, table):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").touch()
    table(
        tmp_path / "set.csv",
        ("split", "fold", "group", "start_s", "end_s", "label", "path"),
        [
            ("train", "2", "anna", "0.5", "1.25", "dog; cat", "in/a.wav"),
            ("", "3.0", "", "", "2", "cat;cat;", "in/a.wav"),
        ],
    )
    source = str(tmp_path / "in" / "a.wav")
    assert manifest.read(tmp_path).clips == (
        Clip("in/a.wav@0.5-1.25", source, (0, 1), "train", 2, "anna", 0.5, 1.25),
        Clip("in/a.wav@None-2.0", source, (0,), "full", 3, "", None, 2.0),
    )


@pytest.mark.parametrize(
    "columns, row, message",
    [
        (("path", "class"), ("a", "dog"), r"set.csv lacks the columns \['label'\]; it"),
        (("path", "label"), ("a", " ; "), "set.csv:2: no label for 'a'"),
        (("path", "label"), ("a",), r"set.csv:2: no fields \['label'\]"),
        (
            ("path", "label", "fold"),
            ("a", "b", "one"),
            "csv:2: fold is 'one', not a num",
        ),
        (
            ("path", "label", "fold"),
            ("a", "b", "1.5"),
            "2: fold is '1.5', expected a who",
        ),
        (("path", "label", "fold"), ("a", "b", "nan"), "2: fold is 'nan', expected a"),
        (("path", "label", "start_s"), ("a", "b", "1:20"), "2: start_s is '1:20', not"),
        (
            ("path", "label", "end_s"),
            ("a", "b", "-1"),
            "2: end_s is -1.0, expected sec",
        ),
        (
            ("path", "label", "end_s"),
            ("a", "b", "nan"),
            "2: end_s is nan, expected sec",
        ),
        (("path", "label", "split"), ("a", "b", "x/y"), "2: split is 'x/y', expected"),
    ],
)
def test_manifest_malformed(tmp_path, table, columns, row, message):
    table(tmp_path / "set.csv", columns, [row])
    with pytest.raises(ValueError, match=message):
        manifest.read(tmp_path)


def test_manifest_without_rows(tmp_path, table):
    table(tmp_path / "set.csv", ("path", "label"), [])
    with pytest.raises(ValueError, match="set.csv lists no clips"):
        manifest.read(tmp_path)


def test_manifest_with_two_tables(tmp_path, table):
    for name in ("train.csv", "test.csv"):
        table(tmp_path / name, ("path", "label"), [("a.wav", "dog")])
    with pytest.raises(ValueError, match=r"\['test.csv', 'train.csv'\]; name the one"):
        manifest.read(tmp_path)
    assert len(manifest.read(tmp_path / "test.csv").clips) == 1


def test_folder_per_class(tmp_path):
    for name in (
        "dog/b.wav",
        "dog/deep/a.FLAC",
        "cat/a.wav",
        ".git/a.wav",
        "dog/a.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = manifest.read(tmp_path)
    assert listing.label_names == ("cat", "dog")
    assert {clip.id: clip.labels for clip in listing.clips} == {
        "cat/a.wav": (0,),
        "dog/b.wav": (1,),
        "dog/deep/a.FLAC": (1,),
    }
    shutil.rmtree(tmp_path / "dog")
    shutil.rmtree(tmp_path / "cat")
    with pytest.raises(ValueError, match="holds neither a csv with path,label nor"):
        manifest.read(tmp_path)


# Real folders.


def test_esc10_as_published(real_audio):
    listing = esc50.read_esc10(real_audio("esc10"))
    assert len(listing.label_names) == 10
    assert all(clip.source for clip in listing.clips)
    folds = collections.Counter(clip.fold for clip in listing.clips)
    assert folds == dict.fromkeys(range(1, 6), 80)


def test_urbansound8k_folds_1_2_and_10(real_audio):
    listing = urbansound8k.read(real_audio("urbansound8k"))
    assert len(listing.clips) == catalog.get("urbansound8k").published_clips["full"]
    assert len(listing.label_names) == 10
    found = collections.Counter(clip.fold for clip in listing.clips if clip.source)
    assert found == {1: 873, 2: 888, 10: 837}


def test_audioset_lists_as_published(real_audio):
    listing = audioset.read(real_audio("audioset_meta"))
    assert len(listing.label_names) == 527
    clips = collections.Counter(clip.split for clip in listing.clips)
    published = catalog.get("audioset").published_clips
    assert clips == {name: published[name] for name in ("balanced_train", "eval")}
