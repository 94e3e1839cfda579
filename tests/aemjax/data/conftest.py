"""Tiny official folders, and prepared sets made of them."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from aemjax.data.prepare import prepare
from aemjax.data.prepared import PreparedSet
from tests.aemjax.data.batches import train

ESC50_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")


@pytest.fixture(scope="session")
def save():
    """(path, samples, rate=16000, **soundfile's) -> path; makes the folders."""

    def write(path, samples, rate=16_000, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, samples, rate, **options)
        return path

    return write


@pytest.fixture(scope="session")
def table():
    """(path, columns, rows, **csv's) -> path; makes the folders."""

    def write(path, columns, rows, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            csv.writer(file, **options).writerows([columns, *rows])
        return path

    return write


@pytest.fixture(scope="session")
def edit():
    """(path, old, new): replaces a text of a file, which must be there."""

    def replace(path, old, new):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return replace


@pytest.fixture(scope="session")
def esc50_at(save, table):
    """folder -> the same, as ESC-50: three classes, one not of ESC-10, five folds."""

    def write(folder):
        rng = np.random.default_rng(0)
        rows = []
        for fold in range(1, 6):
            for target, category in ((0, "dog"), (7, "rooster"), (30, "door")):
                for take in "AB":
                    name = f"{fold}-{100 + fold}-{take}-{target}.wav"
                    samples = rng.uniform(-0.5, 0.5, 1600 + 160 * fold)
                    save(folder / "audio" / name, samples)
                    esc10 = target != 30
                    rows.append((name, fold, target, category, esc10, 100 + fold, take))
        table(folder / "meta" / "esc50.csv", ESC50_COLUMNS, rows)
        return folder

    return write


@pytest.fixture(scope="session")
def audioset_at(save):
    """(folder, names of audio files) -> folder, as AudioSet with three segments."""

    def write(folder, names=("abcdefghijk.wav", "-bcdefghij_.wav", "_bcdefghijk.wav")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "class_labels_indices.csv").write_text(
            'index,mid,display_name\n0,/m/0a,"Speech"\n1,/m/0b,"Male speech, man"\n'
            '2,/t/dd00012,"Silence"\n'
        )
        head = "# Segments csv created\n# num_ytids=2\n# YTID, start_seconds, ...\n"
        (folder / "balanced_train_segments.csv").write_text(
            head + 'abcdefghijk, 30.000, 40.000, "/m/0b,/m/0a"\n'
            '-bcdefghij_, 0.000, 10.000, "/t/dd00012"\n'
        )
        (folder / "eval_segments.csv").write_text(
            head + '_bcdefghijk, 110.500, 113.250, "/m/0b"\n'
        )
        rng = np.random.default_rng(0)
        for name in names:
            save(folder / name, rng.uniform(-0.5, 0.5, 800))
        return folder

    return write


@pytest.fixture(scope="session")
def set_of(tmp_path_factory, save, table):
    """rows of (label, split, fold, group) -> a set of one clip of 10 ms for each.

    A fold of 0 is none.
    """

    def make(rows):
        folder = tmp_path_factory.mktemp("rows")
        rng = np.random.default_rng(0)
        for i in range(len(rows)):
            save(folder / f"{i:02d}.wav", rng.uniform(-0.5, 0.5, 160))
        table(
            folder / "set.csv",
            ("path", "label", "split", "fold", "group"),
            [
                (f"{i:02d}.wav", label, split, fold or "", group)
                for i, (label, split, fold, group) in enumerate(rows)
            ],
        )
        prepare("manifest", folder, folder / "set")
        return PreparedSet(folder / "set")

    return make


@pytest.fixture(scope="session")
def ramps(tmp_path_factory, save, table):
    """24 clips of 0.05 to 0.24 s whose samples are all different, throughout the set.

    So a sample says which clip it is of, and where in it: see `where`.
    """
    folder = tmp_path_factory.mktemp("ramps")
    lengths = np.linspace(800, 3920, 24).astype(int)
    starts = np.cumsum([0, *lengths]) - 32_768
    rows = []
    for i, (start, length) in enumerate(zip(starts, lengths, strict=False)):
        pcm = np.arange(start, start + length).astype(np.int16)
        save(folder / f"{i:02d}.wav", pcm)
        rows.append((f"{i:02d}.wav", ";".join("abc"[: 1 + i % 3])))
    table(folder / "set.csv", ("path", "label"), rows)
    prepare("manifest", folder, folder / "set", clips_per_shard=9)
    return PreparedSet(folder / "set")


@pytest.fixture(scope="session")
def where(ramps):
    """int16 samples -> (rows of `ramps`, positions in their clips), of equal shape."""
    row, position = np.full(65_536, -1), np.full(65_536, -1)
    for i in range(len(ramps)):
        samples = ramps.read_audio(i).astype(int) + 32_768
        row[samples], position[samples] = i, np.arange(len(samples))

    def find(samples):
        index = samples.astype(int) + 32_768
        return row[index], position[index]

    return find


@pytest.fixture(scope="session")
def real_audio():
    """name -> a folder of real audio beside the repository; skips where it is absent."""

    def folder(name):
        path = Path(__file__).parents[3].parent / "shared" / "data" / name
        if not path.is_dir():
            pytest.skip(f"needs the real audio of ../shared/data/{name}")
        return path

    return folder


@pytest.fixture(scope="module")
def unbroken(ramps):
    return train(ramps)


@pytest.fixture(scope="module")
def rows_of(where):
    """batches -> the row of each example."""
    return lambda batches: [
        int(where(b["audio"][i])[0][0]) for b in batches for i in range(8)
    ]


@pytest.fixture(scope="module")
def damage(tmp_path_factory, ramps):
    """rows -> the set with the records of those rows overwritten."""

    def make(*rows):
        folder = tmp_path_factory.mktemp("damaged") / "set"
        shutil.copytree(ramps.path, folder)
        for row in rows:
            samples = ramps.read_audio(row).tobytes()[:200]
            for path in folder.glob("*.array_record-*"):
                content = path.read_bytes()
                path.write_bytes(content.replace(samples, b"\xa5" * 200))
        return PreparedSet(folder)

    return make
