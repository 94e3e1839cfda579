"""The tutorial runs from top to bottom, and what it says of its outputs is so."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from absl import logging

import aemjax
from tests.docs_test import blocks
from tests.jobs import ROOT


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What its cells leave behind, run one after the other in an empty folder."""
    text = (ROOT / "docs/tutorial.md").read_text()
    cells = [cell for kind, cell in blocks(text) if kind == "{code-cell} python"]
    assert len(cells) > 10
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("tutorial"))
        patch.setattr(logging, "set_verbosity", lambda level: None)  # nor of others
        patch.setattr(plt, "show", lambda: plt.close("all"))
        plt.switch_backend("agg")
        for cell in cells:
            exec(compile(cell, "docs/tutorial.md", "exec"), names)
        yield names


def test_the_set_is_whole_and_sound(names):
    assert names["manifest"]["kept"] == names["manifest"]["listed"] == 120
    assert len(names["manifest"]["labels"]) == 6
    assert not names["inspect_set"](names["data"]).findings


def test_the_last_convolution_is_most_of_the_network(names):
    summary = names["summary"]
    parameters = summary.parameters["backbone/conv11"] / summary.total_parameters
    macs = summary.macs["backbone/conv11"] / summary.total_macs
    assert 0.7 < parameters < 0.8 and 0.4 < macs < 0.5


def test_the_loss_falls_and_filters_hardly_move(names):
    losses = list(names["loss"].values())
    assert losses[-1] < 0.7 * losses[0]
    assert 0 < names["moved"] < 0.1


def test_held_out_clips_share_no_site_with_those_that_train(names):
    data, held_out = names["data"], names["held_out"]
    assert names["last"]["metrics"]["clips"] == len(held_out) == names["unheard"].sum()
    assert not set(data.group[held_out]) & set(data.group[~names["unheard"]])


def test_embeddings_are_of_every_clip(names):
    assert names["embeddings"].shape == (120, 512)
    assert np.isfinite(names["points"]).all() and names["method"] == "t-SNE"


def test_files_give_what_the_network_gives(names):
    for metric in ("accuracy", "log_loss"):
        expected = names["last"]["metrics"][metric]
        assert names["scored"][metric] == pytest.approx(expected, abs=1e-4)
    released = aemjax.load(names["work"] / "released")
    np.testing.assert_array_equal(
        released.scores(names["clip"]), names["classifier"].scores(names["clip"])
    )
