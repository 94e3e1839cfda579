import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from aemjax import cli


def test_summary_prints_the_published_count(capsys):
    cli.main(["summary", "--model", "aemresnet", "--llf", "llf1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == 11_744_143
    assert found["bytes"] == 4 * 11_744_143
    assert found["output_frames"] == 100
    assert found["macs"] == pytest.approx(1.827e9, rel=1e-3)


def test_summary_of_a_config(capsys):
    cli.main(["summary", "--config", "configs/finetune/esc50.py:scratch"])
    assert "11,499,442" in capsys.readouterr().out.splitlines()[-2]


def test_the_catalogue_is_listed(capsys):
    cli.main(["datasets"])
    printed = capsys.readouterr().out
    assert "\nicbhi2017\n    classes: 4\n    labels of a clip: one\n" in printed
    cli.main(["datasets", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["audioset"]["clips"] == (
        "unbalanced_train 2,041,789, balanced_train 22,160, eval 20,371"
    )
    assert found["covid19sounds_task1"]["protocols"] == "draws"


def test_an_own_set_is_prepared(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        noise = rng.normal(scale=0.1, size=800)
        soundfile.write(tmp_path / "mine" / label / "a.wav", noise, 8000)
    out = tmp_path / "out"
    cli.main(["prepare", "manifest", f"--source={tmp_path}/mine", f"--out={out}"])
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (printed["listed"], printed["kept"]) == (2, 2)
    assert json.loads((out / "manifest.json").read_text())["labels"] == ["cat", "dog"]


def test_a_checkpoint_is_scored(pretrained, audioset, capsys):
    cli.main(["evaluate", str(pretrained), f"--data={audioset}", "--split=eval"])
    found = json.loads(capsys.readouterr().out)
    assert found["clips"] == 18 and 0 < found["mAP"] <= 1


def test_a_checkpoint_embeds_a_split(pretrained, audioset, tmp_path, capsys):
    out = tmp_path / "out"
    words = [str(pretrained), f"--data={audioset}", f"--out={out}", "--split=eval"]
    cli.main(["embed", *words, "--logits", "--batch-size=16"])
    found = json.loads(capsys.readouterr().out)
    assert found["checkpoint"] == str(pretrained) and found["step"] > 0
    assert (found["split"], found["clips"], found["logits"]) == ("eval", 18, True)
    assert np.load(out / "logits.npy").shape == (18, 12)
    with pytest.raises(SystemExit, match="error: .*out exists; remove it, or choose"):
        cli.main(["embed", *words])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summary", "--model", "nope"], "error: unknown model 'nope'; known: "),
        (["summary"], "error: name either --config or --model"),
        (["summary", "--model", "aemnet", "--seconds", "0.001"], "error: audio has 16"),
        (["summary", "--config", "nowhere.py"], "error: .*nowhere.py"),
        (["prepare", "esc", "--source", ".", "--out", "x"], "unknown dataset 'esc'"),
        (["prepare", "esc50", "--source", "nowhere", "--out", "x"], "nowhere does not"),
        (["prepare", "esc50", "--source", "docs", "--out", "x"], "esc50.csv does not"),
        (["synthesize", "esc", "--out", "x"], "unknown twin 'esc'"),
        (["evaluate", "nowhere", "--data", "x"], "nowhere holds no checkpoints/"),
        (["embed", "nowhere", "--data", "x", "--out", "y"], "nowhere holds no check"),
        (["report", "nowhere"], "nowhere has no results.json"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    with pytest.raises(SystemExit, match=message):
        cli.main(arguments)


def test_importing_the_package_loads_no_framework():
    code = "import sys, aemjax; print({'jax', 'flax', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_models_load_without_the_training_stack():
    code = (
        "import sys, aemjax.models, aemjax.audio.read; "
        "print({'grain', 'tensorflow_datasets', 'pyarrow', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_misspelt_flag_does_not_become_the_runners(capsys):
    words = ["prepare", "esc50", "--source=in", "--out=out"]
    with pytest.raises(SystemExit):
        cli.main([*words, "--runner=DirectRunner", "--skip-unreadible"])
    assert "--skip-unreadible; is --skip-unreadable meant?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*words, "--region=europe-west4"])
    assert "unrecognized arguments: --region" in capsys.readouterr().err
