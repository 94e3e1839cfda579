"""The wheel, installed alone, is the inference side."""

import json
import os
import subprocess
import sys
import venv
import zipfile

import numpy as np
import pytest
import soundfile as sf

from aemjax.serve.release import write_network
from aemjax.train.card import Card
from benchmarks.parity import random_variables
from tests.jobs import ROOT

MODEL = {"name": "aemnet_dw", "num_classes": 3, "frontend": "llf2", "width": 0.125}
# Of the extras.
OTHERS = {
    "apache-beam",
    "fastapi",
    "grain",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "optuna",
    "pyarrow",
    "scikit-learn",
    "tensorflow",
    "tensorflow-datasets",
    "torch",
}


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), str(ROOT))
    (found,) = folder.iterdir()
    return found


@pytest.mark.slow
def test_what_the_wheel_holds(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "aemjax/py.typed" in names
    assert "aemjax/serve/page/static/index.html" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"aemjax"}
    (metadata,) = (name for name in names if name.endswith("METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    for extra in (
        "train",
        "prepare",
        "export",
        "litert",
        "serve",
        "hear",
        "gpu",
        "tpu",
    ):
        assert f"Provides-Extra: {extra}\n" in text


@pytest.mark.slow
def test_the_wheel_alone_classifies_and_embeds(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(scripts / "python"), "-m", "pip"]
    run(*pip, "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel))
    installed = {
        about["name"].lower()
        for about in json.loads(run(*pip, "list", "--format", "json"))
    }
    assert not OTHERS & installed
    model = tmp_path / "released"
    model.mkdir()
    card = Card(MODEL, 16_000, ["a", "b", "c"], False, "accuracy", "unknown", {})
    write_network(model, random_variables(**MODEL), card, 1)
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "one.wav", rng.normal(0, 0.1, 44_100), 44_100)
    command, at = str(scripts / "aemjax"), {"cwd": tmp_path}  # not beside the sources
    classify = (command, "classify", "one.wav", "--model", "released")
    (piece,) = json.loads(run(*classify, "--format", "json", **at))
    assert piece["end_s"] == 1
    assert sum(x["probability"] for x in piece["top"]) == pytest.approx(1, abs=1e-5)
    run(command, "embed", "one.wav", "--model", "released", "-o", "out.npz", **at)
    with np.load(tmp_path / "out.npz") as table:
        assert table["embeddings"].shape == (1, 512)
    for verb, extra in {"prepare": "train", "serve": "serve"}.items():
        words = {
            "prepare": ["esc50", "--source", ".", "--out", "x"],
            "serve": ["--model", "released"],
        }
        done = subprocess.run(
            [command, verb, *words[verb]], capture_output=True, text=True, **at
        )
        assert done.returncode == 1 and f"aemjax[{extra}]" in done.stderr
        assert "Traceback" not in done.stderr
