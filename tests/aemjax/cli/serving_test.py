"""The verbs `release` and `classify`."""

import csv
import io
import json

import numpy as np
import pytest

import aemjax
from aemjax import cli
from tests.aemjax.audio.files import noise, save


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Half a second at 16 kHz and a second at 8 kHz."""
    folder = tmp_path_factory.mktemp("files")
    short = save(folder, noise(8_000, level=0.3), name="short.wav")
    long = save(folder, noise(8_000, level=0.3, seed=1), rate=8_000, name="long.flac")
    return str(short), str(long)


def classify(capsys, *words):
    """(standard output, standard error, exit code) of the verb."""
    code = 0
    try:
        cli.main(["classify", *words])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return out, err, code


def test_a_run_is_released(pretrained, tmp_path, capsys):
    out = tmp_path / "released"
    cli.main(["release", f"{pretrained}@last", f"--out={out}"])
    about = json.loads(capsys.readouterr().out)
    assert about["folder"] == str(out) and about["step"] > 0
    assert json.loads((out / "card.json").read_text())["step"] == about["step"]
    with pytest.raises(
        SystemExit, match="error: .*released exists; remove it, or choo"
    ):
        cli.main(["release", str(pretrained), f"--out={out}"])


def test_files_are_classified(released, files, capsys):
    model = f"--model={released}"
    out, _, code = classify(capsys, *files, model, "--format=json", "--top-k=3")
    found = json.loads(out)
    assert code == 0 and [one["file"] for one in found] == list(files)
    assert [(one["start_s"], one["end_s"]) for one in found] == [(0, 0.5), (0, 1)]
    classifier = aemjax.load(released)
    for one in found:
        audio = aemjax.audio.read.read_audio(one["file"])
        expected = classifier.classify(audio, 3)
        assert [top["label"] for top in one["top"]] == [label for label, _ in expected]
        probabilities = [top["probability"] for top in one["top"]]
        np.testing.assert_allclose(probabilities, [p for _, p in expected], atol=1e-4)


def test_tables_and_csv_say_the_same(released, files, capsys):
    words = [*files, f"--model={released}", "--top-k=2"]
    found = json.loads(classify(capsys, *words, "--format=json")[0])
    rows = list(
        csv.DictReader(io.StringIO(classify(capsys, *words, "--format=csv")[0]))
    )
    assert list(rows[0]) == ["file", "start_s", "end_s", "rank", "label", "probability"]
    assert [row["rank"] for row in rows] == ["1", "2", "1", "2"]
    lines = []
    for one in found:
        lines.append(f"{one['file']}, 0.00 to {one['end_s']:.2f} s")
        for top in one["top"]:
            row = rows.pop(0)
            assert (row["file"], row["label"]) == (one["file"], top["label"])
            assert float(row["end_s"]) == one["end_s"]
            assert float(row["probability"]) == pytest.approx(top["probability"], 1e-4)
            lines.append(f"    {top['probability']:.4f}  {top['label']}")
    assert classify(capsys, *words)[0].splitlines() == lines


def test_windows_have_their_times(released, files, capsys):
    words = [*files, f"--model={released}", "--format=json", "--window-s=0.4"]
    found = json.loads(classify(capsys, *words, "--hop-s=0.25")[0])
    times = [(one["start_s"], one["end_s"]) for one in found]
    assert times[:2] == [(0, 0.4), (0.1, 0.5)]  # the last one ends with the file
    assert times[2:] == [(0, 0.4), (0.25, 0.65), (0.5, 0.9), (0.6, 1)]
    audio = aemjax.audio.read.read_audio(files[1])[4_000 : 4_000 + 6_400]
    label, probability = aemjax.load(released).classify(audio, 1)[0]
    assert found[3]["top"][0]["label"] == label
    assert found[3]["top"][0]["probability"] == pytest.approx(probability, abs=1e-4)
    without = json.loads(classify(capsys, *words)[0])
    assert [one["start_s"] for one in without] == [0, 0.1, 0, 0.4, 0.6]


def test_a_bad_file_does_not_stop_the_others(released, files, tmp_path, capsys):
    (bad := tmp_path / "bad.wav").write_text("no audio")
    words = [str(bad), files[0], str(tmp_path / "none.wav"), files[1]]
    for form in ("json", "table", "csv"):
        out, err, code = classify(
            capsys, *words, f"--model={released}", f"--format={form}"
        )
        assert code == 1
        assert [line.split(": ")[:2] for line in err.splitlines()] == [
            ["error", str(bad)],
            ["error", str(tmp_path / "none.wav")],
        ]
        assert [out.count(file) > 0 for file in words] == [False, True, False, True]
    out, err, code = classify(capsys, str(bad), f"--model={released}", "--format=json")
    assert (json.loads(out), len(err.splitlines()), code) == ([], 1, 1)


def test_more_files_than_a_batch_keep_their_order(released, files):
    from aemjax.serve.files import classify_files

    classifier = aemjax.load(released, batch_size=2)
    words = [*files, "nowhere.wav", *files[::-1], files[0]]
    found = list(classify_files(classifier, words, top_k=1))
    assert [getattr(one[0], "file", None) if isinstance(one, list) else None
            for one in found] == [*files, None, *files[::-1], files[0]]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top-k=0"], "error: top_k is 0, expected 1 or more"),
        (["--hop-s=1"], "error: a hop of 1.0 s needs a window"),
        (
            ["--window-s=0.001"],
            "error: windows of 0.001 s every 0.001 s: expected a win",
        ),
        (
            ["--window-s=1", "--hop-s=0"],
            "error: windows of 1.0 s every 0.0 s: expected",
        ),
        (
            ["--window-s=1", "--hop-s=2"],
            "error: windows of 1.0 s every 2.0 s would leave",
        ),
        (["--window-s=inf"], "error: windows of inf s every inf s"),
    ],
)
def test_bad_options_are_one_line(released, words, message):
    with pytest.raises(SystemExit, match=message):
        cli.main(["classify", "x.wav", f"--model={released}", *words])


def test_a_model_that_is_none_is_one_line():
    with pytest.raises(SystemExit, match="error: nowhere holds neither card.json nor"):
        cli.main(["classify", "x.wav", "--model=nowhere"])
