"""The demo itself takes minutes; here its commands and its verdict."""

import json
import shlex

import pytest

from aemjax import cli
from examples import demo
from tests.aemjax.report.made import write_run
from tests.jobs import ROOT


def test_its_commands_exist():
    lines = demo.COMMANDS.format(out="build/demo").strip().splitlines()
    for words in map(shlex.split, lines):
        if words[0] == "aemjax":
            cli._parser().parse_args(words[1:])
        else:
            config = dict(zip(words[3::2], words[4::2], strict=False))["--config"]
            assert (ROOT / config.partition(":")[0]).is_file()


@pytest.mark.parametrize(("gain", "passes"), [(0.06, True), (0.04, False)])
def test_pretraining_has_to_pay(tmp_path, monkeypatch, capsys, gain, passes):
    accuracies = {"finetuned": 0.3 + gain, "scratch": 0.3}

    def run(command, compiled):  # in place of the job, results as it would leave them
        folder = tmp_path / "demo" / command[-1].rpartition("/")[2]
        if folder.name in accuracies:
            results = write_run(
                folder,
                dataset="esc50",
                metric="accuracy",
                checkpoint__metric="accuracy",
            )
            mean = accuracies[folder.name]
            results["summary"]["last"]["accuracy"]["mean"] = mean
            (folder / "results.json").write_text(json.dumps(results))

    monkeypatch.setattr(demo, "run", run)
    monkeypatch.setattr("sys.argv", ["demo.py", "--out", str(tmp_path / "demo")])
    if passes:
        demo.main()
    else:
        with pytest.raises(SystemExit, match="at least 5 points"):
            demo.main()
    assert f"gains {100 * gain:.1f} points" in capsys.readouterr().out


def test_its_folder_is_where_the_user_stands(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(demo, "run", lambda command, compiled: ran.append(command))
    monkeypatch.setattr(demo, "side_by_side", lambda runs: "")
    results = {"summary": {"last": {"accuracy": {"mean": 0.0}}}}
    monkeypatch.setattr(demo, "read_results", lambda run: results)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["demo.py", "--out", "my demo"])
    with pytest.raises(SystemExit, match="expected at least"):
        demo.main()
    out = tmp_path / "my demo"
    assert out.is_dir() and not (ROOT / "my demo").exists()
    assert ran[0][:4] == ["aemjax", "synthesize", "audioset", "--out"]
    assert ran[0][4] == f"{out}/audioset_twin"
    assert f"--config.data.path={out}/esc50" in ran[-1]
    message = "my demo exists; remove it, or choose another --out"
    with pytest.raises(SystemExit, match=message):
        demo.main()
