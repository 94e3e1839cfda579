"""A network, a file to give it, and the command run on both."""

import re
import sys

import pytest

from aemjax import cli
from aemjax.models import create
from aemjax.serve import release
from aemjax.train.card import Card
from tests import bad_audio
from tests.aemjax.models.networks import random_variables, shapes_of

MODEL = {"name": "tests.tiny:Backbone", "num_classes": 3}


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """A released network, of random weights."""
    folder = tmp_path_factory.mktemp("network") / "tiny"
    folder.mkdir()
    about = {"metric": "mAP", "commit": "unknown", "data": {}, "multi_label": True}
    card = Card(MODEL, 16_000, ["cat", "dog", "owl"], **about)
    variables = random_variables(shapes_of(create(**MODEL)))
    release.write_network(folder, variables, card, step=1)
    return folder


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A good file, alone in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.wav").write_bytes(bad_audio.wav())
    return "clip.wav"


def run(capsys, *words):
    """(standard output, lines of standard error, exit code); without the progress."""
    code = 0
    try:
        cli.main(words)
    except SystemExit as stop:
        code = stop.code
        if isinstance(code, str):  # as Python's exit does with a text
            print(code, file=sys.stderr)
            code = 1
    out, err = capsys.readouterr()
    err = re.sub(r"\rembed: .*\n?", "", err)
    return out, err.splitlines(), code
