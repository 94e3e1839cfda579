"""The site builds without a warning; `make docs` does so with the tutorial executed."""

import html
import importlib.util
import re
import subprocess
import sys

import pytest

from aemjax import cli
from tests.jobs import ROOT

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("sphinx", "myst_nb", "furo"))),
    reason="the site's tools are not installed; `make docs` does so",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """{page: HTML}, with no cell executed."""
    out = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-D", "nb_execution_mode=off"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ROOT / "docs", out],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {
        str(path.relative_to(out).with_suffix("")): path.read_text()
        for path in out.rglob("*.html")
    }


def test_nothing_is_fetched_from_elsewhere(site):
    for page, text in site.items():
        fetched = re.findall(r"<(?:script|link|img|iframe)[^>]*//[^>]*>", text)
        assert not fetched, page


def test_every_verb_has_its_options(site):
    text = site["reference/commands"]
    for verb in cli.parsers():
        assert f'<section id="{verb}">' in text and f"aemjax {verb} [-h]" in text


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("inference", ["load", "Classifier.embed", "serve.hear.load_model"]),
        ("inference", ["serve.files.classify_files", "serve.streaming.ScoreStream"]),
        ("models", ["models.create", "models.AemNet", "models.heads.AclNetXHead"]),
        ("audio", ["audio.read.read_audio", "audio.augment.Augment"]),
        ("data", ["data.prepare.prepare", "data.prepared.PreparedSet.read_audio"]),
        ("training", ["train.losses.focal", "train.evaluate.Evaluator.metrics"]),
        ("files", ["compress.pruning.magnitude_masks", "export.release.write"]),
    ],
)
def test_the_reference_has(site, page, names):
    for name in names:
        assert f'id="aemjax.{name}"' in site[f"reference/{page}"]


def test_signatures_are_readable(site):
    pages = [text for page, text in site.items() if page.startswith("reference/")]
    text = html.unescape(re.sub(r"<[^>]+>", "", "".join(pages)))
    assert "Float32[ndarray, '*n d']" in text
    for noise in ("_Sentinel", "jaxtyping.", "_NestedSequence", "<class", " at 0x"):
        assert noise not in text
