import collections
import csv
import re

import pytest
import soundfile

from aemjax.data import urbansound8k as reader
from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from aemjax.data.synthetic import files, synthesize, urbansound8k
from tests.aemjax.data import listening

HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
CLIPS = 300


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "urbansound8k"
    return synthesize("urbansound8k", folder, clips=CLIPS, seconds=1.0)


@pytest.fixture(scope="module")
def rows(twin):
    text = (twin / "metadata" / "UrbanSound8K.csv").read_bytes().decode()
    assert text.startswith(HEADER)
    return list(csv.DictReader(text.splitlines()))


def test_every_row_has_its_file_and_a_name_that_says_the_same(twin, rows):
    found = {str(path.relative_to(twin)) for path in twin.rglob("*.wav")}
    assert found == {f"audio/fold{r['fold']}/{r['slice_file_name']}" for r in rows}
    assert len(found) == len(rows) == CLIPS
    for row in rows:
        match = re.fullmatch(r"(\d{6})-(\d)-(\d+)-(\d+)\.wav", row["slice_file_name"])
        assert match[1] == row["fsID"] and match[2] == row["classID"]
        assert row["class"] == urbansound8k.CLASSES[int(row["classID"])].name
        assert row["salience"] in "12"
    assert {r["salience"] for r in rows} == {"1", "2"}


def test_classes_are_in_the_real_proportion_and_recordings_in_one_fold(rows):
    counts = collections.Counter(int(r["classID"]) for r in rows)
    shares = files.shares(urbansound8k.SLICES, CLIPS)
    assert [counts[k] for k in range(10)] == shares
    assert shares[0] == 35 and shares[1] == 15 and shares[6] == 13
    assert len({(r["fold"], r["classID"]) for r in rows}) == 10 * 10
    recordings = collections.defaultdict(list)
    for row in rows:
        recordings[row["fsID"]].append((row["fold"], row["classID"]))
    assert all(len(set(found)) == 1 for found in recordings.values())
    assert {len(found) for found in recordings.values()} >= {1, 2, 3, 4, 6}


def test_formats_are_as_varied_as_the_real_ones(twin, rows):
    infos = [
        (row, soundfile.info(twin / "audio" / f"fold{row['fold']}" / name))
        for row in rows
        if (name := row["slice_file_name"])
    ]
    assert {info.samplerate for _, info in infos} == {
        *(8000, 11025, 16000, 22050, 44100, 48000, 96000)
    }
    assert {info.channels for _, info in infos} == {1, 2}
    assert {info.subtype for _, info in infos} == {
        *("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "MS_ADPCM", "IMA_ADPCM")
    }
    lengths_s = []
    for row, info in infos:
        length_s = float(row["end"]) - float(row["start"])
        too_long = info.frames - length_s * info.samplerate
        # ADPCM is written in whole blocks; six samples are one at 16 kHz.
        assert -6 <= too_long <= (4100 if "ADPCM" in info.subtype else 6)
        lengths_s.append(length_s)
    assert max(lengths_s) == pytest.approx(1.0)
    assert 0.05 <= min(lengths_s) < 0.08


def test_prepared_every_slice_is_kept(twin, tmp_path):
    manifest = prepare("urbansound8k", twin, tmp_path / "set")
    assert manifest["kept"] == manifest["listed"] == CLIPS
    counts = manifest["splits"]["full"]["clips_per_class"]
    assert list(counts) == [c.name for c in urbansound8k.CLASSES]
    assert list(counts.values()) == files.shares(urbansound8k.SLICES, CLIPS)
    data = PreparedSet(tmp_path / "set")
    assert sorted(set(data.fold.tolist())) == list(range(1, 11))


def test_the_mean_spectrum_is_a_hint_and_no_more(twin):
    by_mean, by_course = listening.scores(reader.read(twin))
    assert 0.15 < by_mean <= 0.7
    assert by_course > by_mean + 0.15
