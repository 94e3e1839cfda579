"""What the reader of COVID-19 Sounds lists, and what it says of malformed folders."""

import functools

import pytest

from aemjax.data import catalog, covid19sounds
from aemjax.data.clips import Clip

ANDROID = (
    "covidandroidnocough",
    "covidandroidwithcough",
    "healthyandroidnosymp",
    "healthyandroidwithcough",
    "asthmaandroidwithcough",
)


@pytest.fixture
def sounds_dir(tmp_path):
    """A user of each app in each group; AbC of Android is in all of them."""
    folder = tmp_path / "KDD_paper_data"
    names = ["android_breath2cough.json"]
    for group in ANDROID:
        names += [
            f"{group}/breath/breaths_AbC_1588140467902.wav",
            f"{group}/cough/cough_AbC_1588140467941.wav",
        ]
        web = group.replace("android", "web") + "/2020-04-07-18_49_21_155697"
        names += [f"{web}/audio_file_breathe.wav", f"{web}/audio_file_cough.wav"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def heard(listing):
    """{class: sorted (group of users, kind of sound)}."""
    result = {name: set() for name in listing.label_names}
    for clip in listing.clips:
        group, _, name = clip.id.split("/")
        sound = "breath" if "breath" in name else "cough"
        result[listing.label_names[clip.labels[0]]].add((group, sound))
    return result


def both_apps(*groups):
    return [*groups, *(group.replace("android", "web") for group in groups)]


@pytest.mark.parametrize(
    "task, sounds, covid, others",
    [
        (
            1,
            ("breath", "cough"),
            ("covidandroidnocough", "covidandroidwithcough"),
            ("healthy", "healthyandroidnosymp"),
        ),
        (2, ("cough",), ("covidandroidwithcough",), ("healthy", ANDROID[3])),
        (3, ("breath",), ("covidandroidwithcough",), ("asthma", ANDROID[4])),
    ],
)
def test_tasks(sounds_dir, task, sounds, covid, others):
    listing = catalog.get(f"covid19sounds_task{task}").read(sounds_dir)
    assert listing.label_names == ("covid", others[0])
    assert heard(listing) == {
        "covid": {(group, s) for group in both_apps(*covid) for s in sounds},
        others[0]: {(group, s) for group in both_apps(others[1]) for s in sounds},
    }
    assert len(listing.clips) == sum(map(len, heard(listing).values()))


def test_clips_of_both_apps(sounds_dir):
    clips = {clip.id: clip for clip in covid19sounds.read(sounds_dir, task=1).clips}
    stem = "healthyandroidnosymp/cough/cough_AbC_1588140467941"
    assert clips[stem] == Clip(
        id=stem,
        source=f"{sounds_dir}/{stem}.wav",
        labels=(1,),
        group="AbC",
        device="android",
    )
    stem = "covidwebnocough/2020-04-07-18_49_21_155697/audio_file_breathe"
    assert clips[stem] == Clip(
        id=stem,
        source=f"{sounds_dir}/{stem}.wav",
        labels=(0,),
        group="2020-04-07-18_49_21_155697",
        device="web",
    )


def test_users_differ_by_case(sounds_dir):
    cough = sounds_dir / "covidandroidwithcough" / "cough"
    (cough / "cough_aBc_1588140467942.wav").touch()
    (cough / "cough_a_B_1588140467943.flac").touch()
    groups = {clip.group for clip in covid19sounds.read(sounds_dir, task=2).clips}
    assert groups == {"AbC", "aBc", "a_B", "2020-04-07-18_49_21_155697"}


def test_leaves_out_what_is_derived_or_something_else(sounds_dir):
    want = covid19sounds.read(sounds_dir, task=1)
    web = "covidwebnocough/2020-04-07-18_49_21_155697"
    for name in (
        "covidandroidnocough/breath/breaths_AbC_1588140467902.wav_aug_noise1.wav",
        "covidandroidnocough/breath/breaths_AbC_mono_1588140467902.wav",
        "covidandroidnocough/breath/cough_AbC_1588140467902.wav",
        "covidandroidnocough/breath/notes.txt",
        "covidandroidnocough/voice/voice_AbC_1588140467902.wav",
        f"{web}/audio_file_breathe.wav_aug_amp1.wav",
        f"{web}/audio_file_cough_mono.wav",
        f"{web}/audio_file_voice.wav",
    ):
        (sounds_dir / name).parent.mkdir(exist_ok=True)
        (sounds_dir / name).touch()
    assert covid19sounds.read(sounds_dir, task=1) == want


def test_unpacked_one_folder_below(sounds_dir):
    read = functools.partial(covid19sounds.read, task=1)
    assert read(sounds_dir.parent) == read(sounds_dir)


def test_file_without_a_user(sounds_dir):
    (sounds_dir / "covidandroidwithcough" / "cough" / "cough_AbC.wav").touch()
    message = (
        r"cough_AbC.wav is not named cough_<user>_<milliseconds>: without its user"
    )
    with pytest.raises(ValueError, match=message):
        covid19sounds.read(sounds_dir, task=2)
    covid19sounds.read(sounds_dir, task=3)  # which does not hear coughs


def test_missing_folders(sounds_dir):
    (sounds_dir / "healthywebwithcough").rename(sounds_dir / "healthyweb")
    for file in (sounds_dir / "covidandroidwithcough" / "cough").iterdir():
        file.unlink()
    message = (
        r"KDD_paper_data holds no cough recordings of \['covidandroidwithcough', "
        r"'healthywebwithcough'\]; unpack every folder of the task"
    )
    with pytest.raises(ValueError, match=message):
        covid19sounds.read(sounds_dir, task=2)


def test_unknown_task(sounds_dir):
    with pytest.raises(ValueError, match=r"unknown task 4; known: \[1, 2, 3\]"):
        covid19sounds.read(sounds_dir, task=4)
