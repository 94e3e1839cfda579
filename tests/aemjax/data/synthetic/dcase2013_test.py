import csv
import re

import numpy as np
import pytest
import soundfile

from aemjax.data import dcase2013 as reader
from aemjax.data.prepare import prepare
from aemjax.data.synthetic import synthesize
from tests.aemjax.data import listening

CLIPS = 200


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "dcase2013"
    return synthesize("dcase2013", folder, clips=CLIPS, seconds=1.0)


def test_the_first_folder_names_scenes_and_the_key_those_of_the_second(twin):
    named = [path.name for path in (twin / "scenes_stereo").iterdir()]
    scenes = [re.fullmatch(r"([a-z]+)\d\d\.wav", name)[1] for name in named]
    assert sorted(set(scenes)) == list(reader.SCENES)
    assert [scenes.count(scene) for scene in reader.SCENES] == [10] * 10
    numbers = {int(name[-6:-4]) for name in named}
    assert numbers == set(range(1, 21, 2))  # two digits, with gaps
    with open(twin / "dcase2013_task1_filenamekey.csv", newline="") as file:
        key = list(csv.DictReader(file))
    assert [row["testfile"] for row in key] == [f"{n:03d}.wav" for n in range(1, 101)]
    tested = {path.name for path in (twin / "scenes_stereo_testset").iterdir()}
    assert tested == {row["testfile"] for row in key}
    assert all(row["filename"].startswith(row["scene"]) for row in key)
    assert [row["scene"] for row in key] != sorted(row["scene"] for row in key)


def test_recordings_are_binaural(twin):
    levels = []
    for path in sorted(twin.rglob("*.wav"))[::25]:
        wave, rate = soundfile.read(path)
        assert wave.shape == (44100, 2) and rate == 44100
        assert soundfile.info(path).subtype == "PCM_16"
        # One ear hears what the other did, up to 0.6 ms later and 6 dB quieter.
        near, far = wave.T[np.argsort(-wave.std(0))]
        lag = int(np.argmax([np.sum(near[:-27] * far[n : n - 27]) for n in range(27)]))
        gain = far[lag:].std() / near[: 44100 - lag].std()
        assert np.allclose(far[lag:], gain * near[: 44100 - lag], atol=0.002)
        levels.append(gain)
    assert 0.49 < min(levels) < 0.75 < max(levels) < 1.01


def test_prepared_both_halves_hold_every_scene(twin, tmp_path):
    manifest = prepare("dcase2013", twin, tmp_path / "set")
    assert manifest["kept"] == manifest["listed"] == CLIPS
    for split in ("train", "test"):
        counts = manifest["splits"][split]["clips_per_class"]
        assert counts == dict.fromkeys(reader.SCENES, 10)


def test_the_mean_spectrum_is_a_hint_and_no_more(twin):
    by_mean, by_course = listening.scores(reader.read(twin))
    assert 0.15 < by_mean <= 0.7
    assert by_course > by_mean + 0.2
