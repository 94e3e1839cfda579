"""What holds for every twin; tests/aemjax/data/synthetic has what holds for one."""

import pickle

import pytest

from aemjax import cli
from aemjax.data import sounds
from aemjax.data.synthetic import TWINS, files, synthesize

# Of every twin one that is made in no time.
SMALL = {
    "audioset": {"clips": 40, "classes": 5, "seconds": 0.5},
    "covid19sounds": {"clips": 60, "seconds": 0.5},
    "dcase2013": {"clips": 20, "seconds": 0.5},
    "esc50": {"clips": 50, "classes": 5, "seconds": 0.5},
    "icbhi2017": {"clips": 30, "seconds": 0.3},
    "manifest": {"clips": 20, "seconds": 0.5},
    "tau2020": {"clips": 60, "seconds": 0.5},
    "urbansound8k": {"clips": 40, "seconds": 0.5},
}


def _contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _audio(folder):
    kinds = (".wav", ".flac", ".parquet")
    return {k: v for k, v in _contents(folder).items() if k.endswith(kinds)}


@pytest.fixture
def backwards(monkeypatch):
    """Jobs run last one first, each as a worker process would get it."""

    def for_each(function, jobs, workers):
        for job in reversed(jobs):
            function, job = pickle.loads(pickle.dumps((function, job)))
            function(job)

    return lambda: monkeypatch.setattr(files, "for_each", for_each)


@pytest.mark.parametrize(
    "name, options",
    [(name, {}) for name in TWINS] + [("audioset", {"layout": "parquet"})],
)
def test_files_are_a_function_of_the_seed(tmp_path, backwards, name, options):
    def make(folder, **others):
        return synthesize(name, tmp_path / folder, **SMALL[name], **options, **others)

    first, other = make("a", seed=7), make("b")
    backwards()
    assert _contents(first) == _contents(make("c", seed=7))
    assert len(_audio(first)) >= 5
    assert not set(_audio(first).values()) & set(_audio(other).values())


def test_workers_write_the_same(tmp_path):
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        synthesize("audioset", folder, **SMALL["audioset"], workers=workers)
    assert _contents(tmp_path / "1") == _contents(tmp_path / "2")


# The last recording of the other two holds as many clips as are left.
@pytest.mark.parametrize("name", sorted(TWINS.keys() - {"icbhi2017", "manifest"}))
def test_a_clip_does_not_depend_on_how_many_there_are(tmp_path, name):
    options = dict(SMALL[name])
    few = synthesize(name, tmp_path / "few", **options)
    options["clips"] *= 2
    many = synthesize(name, tmp_path / "many", **options)
    few, many = _audio(few), _audio(many)
    assert few.items() < many.items()
    assert len(few) >= SMALL[name]["clips"] and len(many) >= 2 * SMALL[name]["clips"]


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("esc51", {}, r"unknown twin 'esc51'; known: \['audioset', 'covid19sounds', "),
        ("tau2020", {"classes": 5}, r"the tau2020 twin has no options \['classes'\]; "),
        ("esc50", {"length": 1}, r"it has \['classes', 'seconds', 'spreadsheet'\]"),
        ("esc50", {"clips": 20}, "multiple of 5 folds .* 50 classes = 250"),
        ("esc50", {"clips": 0}, "positive multiple"),
        ("esc50", {"classes": 51}, "2 to 50"),
        ("esc50", {"clips": 250, "workers": 0}, "workers is 0; need at least 1"),
        ("audioset", {"naming": "id"}, r"unknown naming 'id'; known: \['y_ytid'"),
        ("audioset", {"layout": "tar"}, r"'tar'; known: \['files', 'parquet'\]"),
        ("audioset", {"clips": 3}, "every split needs one"),
        ("audioset", {"classes": 600}, "600 sound classes"),
        ("audioset", {"missing": 1.5}, "missing is 1.5"),
        ("audioset", {"splits": {"eval": 1.0}}, "add up to 1"),
        ("covid19sounds", {"clips": 58}, "has 3, so it must be even and at least 60"),
        ("covid19sounds", {"clips": 61}, "clips is 61; a submission is a cough and"),
        ("dcase2013", {"clips": 19}, r"clips is 19; need 20 .* to 990"),
        ("dcase2013", {"clips": 991}, r"clips is 991; need 20 .* to 990"),
        ("icbhi2017", {"clips": 29}, "clips is 29; need at least 30 cycles"),
        ("icbhi2017", {"seconds": 9}, "seconds is 9; cycles last about 0.3 to 8"),
        ("manifest", {"clips": 7}, "clips is 7; need at least 8, for every fold"),
        ("tau2020", {"clips": 59}, "clips is 59; need at least 60"),
        ("urbansound8k", {"clips": 9}, "clips is 9; every class needs one, so at"),
    ]
    + [
        (name, {"seconds": 0.1}, "seconds is 0.1; ")
        for name in TWINS
        if name != "icbhi2017"
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


def test_the_command_names_every_twin(capsys):
    with pytest.raises(SystemExit):
        cli.main(["synthesize", "--help"])
    said = capsys.readouterr().out.replace(",", " ").split()
    assert TWINS.keys() <= set(said)


def test_shares_are_in_proportion_and_never_shrink():
    weights = (50, 30, 15, 5)
    assert files.shares(weights, 100) == [50, 30, 15, 5]
    assert files.shares(weights, 1000) == [500, 300, 150, 50]
    counts = [files.shares(weights, total) for total in range(60)]
    for few, many in zip(counts, counts[1:], strict=False):
        assert sum(many) == sum(few) + 1
        assert all(a <= b for a, b in zip(few, many, strict=True))


def test_six_digits_are_not_used_twice():
    names = {files.six_digits(number, 7) for number in range(5000)}
    assert len(names) == 5000 and {len(name) for name in names} == {6}
