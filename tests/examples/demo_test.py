"""The demo itself takes minutes; here its commands and its verdict."""

import json
import shlex

import pytest

from aemjax import cli
from examples import demo
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
            folder.mkdir()
            accuracy = {"accuracy": {"mean": accuracies[folder.name], "std": None}}
            results = {
                "dataset": "esc50",
                "split": "official folds",
                "init_from": "",
                "lr_fraction": 1.0,
                "metric": "accuracy",
                "runs": [{"fold": 1}],
                "summary": {"best": accuracy, "last": accuracy},
            }
            (folder / "results.json").write_text(json.dumps(results))

    monkeypatch.setattr(demo, "run", run)
    monkeypatch.setattr("sys.argv", ["demo.py", "--out", str(tmp_path / "demo")])
    if passes:
        demo.main()
    else:
        with pytest.raises(SystemExit, match="at least 5 points"):
            demo.main()
    assert f"gains {100 * gain:.1f} points" in capsys.readouterr().out
