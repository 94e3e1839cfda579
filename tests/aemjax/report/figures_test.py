"""Figures show the numbers that they are given."""

import re
import xml.etree.ElementTree as ET

import matplotlib.image
import numpy as np
import pytest
from scipy import signal

from aemjax.models.frontends import first_kernel
from aemjax.report import embedding_map, figures
from aemjax.report.filters import responses
from aemjax.report.inputs import read_folders
from aemjax.report.svg import make_names_unique, new_figure, to_svg
from aemjax.report.sweep_figures import (
    published_curve,
    save_sweep_figure,
    sweep_figure,
)
from tests.aemjax.report import made

ODD = ["<b>", "dog & cat", "$x_{", "déjà"]


def texts(svg):
    """What is written in a figure; fails where it is not well-formed."""
    return {(x.text or "").strip() for x in ET.fromstring(svg).iter() if x.text}


def test_counts_and_names_of_a_confusion_matrix():
    counts = np.array([[21, 0, 3, 4], [0, 0, 0, 0], [9, 0, 30, 0], [0, 0, 7, 80]])
    found = texts(figures.confusion_figure(counts, ODD))
    assert {"21", "3", "4", "9", "30", "7", "80", *ODD} <= found
    assert "0" not in found


@pytest.mark.parametrize(("k", "named"), [(50, True), (70, False)])
def test_many_classes_have_no_room_for_counts(k, named):
    labels = [f"class{i}" for i in range(k)]
    found = texts(figures.confusion_figure(np.eye(k, dtype=int) * 777, labels))
    assert "777" not in found
    assert ("class49" in found) is named


def test_a_figure_takes_the_pages_colour_and_loads_nothing():
    with new_figure(2, 2) as figure:
        figure.subplots().plot([1, 2], [3, 4])
        svg = to_svg(figure)
    assert svg.startswith("<svg") and svg.endswith("</svg>")
    assert "currentColor" in svg and "#010203" not in svg
    assert "metadata" not in svg
    addresses = re.findall(r"https?://[^\"']+", svg)
    assert set(addresses) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    first, second = make_names_unique([svg, svg])
    names = [re.findall(r'\bid="([^"]+)"', x) for x in (first, second)]
    assert names[0] and not set(names[0]) & set(names[1])
    for svg, own in zip((first, second), names, strict=True):
        used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
        assert used and {a or b for a, b in used} <= set(own)


def test_the_mean_of_folds_that_log_at_other_steps():
    curves = {"fold 1": ([0, 10, 20], [0.0, 1.0, 2.0]), "fold 2": ([5, 15], [4.0, 4.0])}
    steps, mean = figures.mean_curve(curves)
    np.testing.assert_array_equal(steps, [5, 10, 15])
    np.testing.assert_allclose(mean, [2.25, 2.5, 2.75])


@pytest.mark.parametrize("folds", [1, 2])
def test_curves(folds):
    curves = {f"fold {n}": ([1, 2], [1.0 + n, 2.0]) for n in range(folds)}
    found = texts(figures.curves_figure({"train/loss": curves, "eval/AS": curves}))
    assert {"train/loss", "eval/AS", "step"} <= found
    assert ("mean" in found) is (folds > 1)


@pytest.mark.parametrize("k", [4, 70])
def test_shares(k):
    labels = (ODD * 18)[:k]
    counts = {"train": np.arange(k), "eval": np.ones(k, int)}
    found = texts(figures.shares_figure(counts, labels))
    clips = k * (k - 1) // 2
    assert {f"train, {clips:,} clips", f"eval, {k} clips"} <= found
    assert ("<b>" in found) is (k == 4)


def test_responses_are_those_of_scipy():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(33, 1, 5)).astype(np.float32)
    frequencies, decibels = responses(kernel)
    assert frequencies[0] == 0 and frequencies[-1] == 8000
    found = []
    for channel in range(5):
        at, response = signal.freqz(kernel[:, 0, channel], worN=frequencies, fs=16_000)
        np.testing.assert_allclose(at, frequencies)
        own = 20 * np.log10(np.abs(response))
        found.append(own - own.max())
    found = sorted(found, key=np.argmax)
    np.testing.assert_allclose(decibels, found, atol=1e-6)


def test_filters_are_in_the_order_of_their_centres():
    taps = np.arange(257)
    centres = np.array([6000, 500, 3000, 0])
    kernel = (
        np.cos(2 * np.pi * centres / 16_000 * taps[:, None]) * np.hanning(257)[:, None]
    )
    kernel = np.concatenate([kernel, np.zeros((257, 1))], axis=1)
    frequencies, decibels = responses(kernel[:, None].astype(np.float32))
    peaks = frequencies[decibels.argmax(axis=1)]
    finite = np.isfinite(decibels).any(axis=1)
    np.testing.assert_allclose(peaks[finite], sorted(centres), atol=32)
    assert (decibels[~finite] == -np.inf).all() and (~finite).sum() == 1
    with np.errstate(invalid="raise"):
        assert "frequency (kHz)" in texts(figures.filters_figure(frequencies, decibels))


def test_spectral_front_ends_have_no_filters():
    assert first_kernel({"frontend": {"bn": {"scale": np.ones(3)}}}) is None
    assert first_kernel({"head": {}}) is None
    two_dimensional = np.zeros((3, 3, 1, 8))
    assert first_kernel({"frontend": {"conv1": {"kernel": two_dimensional}}}) is None


@pytest.mark.parametrize(("clips", "method"), [(2, "PCA"), (29, "PCA"), (30, "t-SNE")])
def test_clips_of_a_class_lie_together(clips, method):
    rng = np.random.default_rng(0)
    classes = np.arange(clips) % 2
    embeddings = (rng.normal(size=(clips, 64)) + 20 * classes[:, None]).astype(
        np.float32
    )
    points, name = embedding_map.project(embeddings)
    assert name == method
    np.testing.assert_array_equal(points, embedding_map.project(embeddings)[0])
    centres = [points[classes == c].mean(axis=0) for c in (0, 1)]
    apart = np.linalg.norm(centres[0] - centres[1])
    for c in (0, 1):
        around = np.linalg.norm(points[classes == c] - centres[c], axis=1)
        assert (around < apart / 2).all()
    found = texts(figures.map_figure(points, classes, ["rain", "wind", "absent"]))
    assert {"rain", "wind"} <= found and "absent" not in found


def test_one_clip_has_no_map():
    with pytest.raises(ValueError, match="1 clips have no map; it needs two"):
        embedding_map.project(np.zeros((1, 8), np.float32))


def test_a_map_of_many_clips_is_of_some():
    few = np.arange(7, 507)
    np.testing.assert_array_equal(embedding_map.drawn_clips(few), few)
    many = np.arange(1000) * 3
    drawn = embedding_map.drawn_clips(many)
    assert len(set(drawn)) == 500 and set(drawn) < set(many)
    np.testing.assert_array_equal(drawn, embedding_map.drawn_clips(many))


def sweep_of(folder, parameters, values, **changes):
    trials = [
        {"parameters": dict(zip(parameters, at, strict=True)), "value": value}
        for at, value in values.items()
    ]
    if changes:
        made.write_run(folder / "trial0", **changes)
        trials[0]["folder"] = "trial0"
    made.write_sweep(folder, trials, parameters=list(parameters))
    return read_folders([folder])[1][0]


def test_a_sweep_over_shares_of_the_rate_is_beside_table_8(tmp_path):
    values = {(0.2,): 0.5, (0.1,): 0.6}
    parameters = ("optimizer.lr_fraction",)
    sweep = sweep_of(tmp_path / "a", parameters, values, data__protocol="official")
    (curve,) = published_curve(sweep).items()
    assert curve[0] == "official 60/40"
    assert curve[1][0] == (0.1, 0.544) and curve[1][-1] == (1.0, 0.558)
    assert "published, official 60/40" in texts(sweep_figure(sweep))


@pytest.mark.parametrize(
    "changes",
    [{"dataset": "esc50"}, {"model__width": 0.5}, {"data__protocol": "kfold"}],
)
def test_another_sweep_is_not(tmp_path, changes):
    sweep = sweep_of(
        tmp_path / "a", ("optimizer.lr_fraction",), {(0.1,): 0.6}, **changes
    )
    assert published_curve(sweep) == {}
    assert not any(text.startswith("published") for text in texts(sweep_figure(sweep)))


def test_two_parameters_are_a_map(tmp_path):
    values = {(1e-3, "a"): 0.25, (1e-4, "b"): 0.75, (1e-4, "a"): 0.5}
    sweep = sweep_of(tmp_path / "a", ("x.rate", "x.kind"), values)
    found = texts(sweep_figure(sweep))
    assert {"0.250", "0.750", "0.500", "0.001", "0.0001", "x.rate", "x.kind"} <= found


@pytest.mark.parametrize(
    "values", [{("a",): 0.5, ("b",): 0.6}, {(1e-6,): 0.5, (1e-3,): 0.6}]
)
def test_values_that_are_no_numbers_or_far_apart(tmp_path, values):
    sweep = sweep_of(tmp_path / "a", ("x",), values)
    assert "AS" in texts(sweep_figure(sweep))


def test_more_parameters_are_parallel_axes(tmp_path):
    values = {(1, "$x", True): 0.5, (2, "b", False): 0.75}
    found = texts(sweep_figure(sweep_of(tmp_path, ("n", "kind", "grouped"), values)))
    assert {"n", "kind", "grouped", "1", "2", "$x", "b", "True", "False"} <= found


def test_without_a_score_there_is_no_figure(tmp_path):
    sweep = sweep_of(tmp_path / "b", ("x",), {(1,): None})
    assert sweep_figure(sweep) is None
    save_sweep_figure(sweep, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize("parameters", ["x", "xy", "xyz"])
def test_a_figure_is_saved_whole_and_tells_scores_apart(tmp_path, parameters):
    def pixels(score):
        values = {(1,) * len(parameters): 0.4, (2,) * len(parameters): score}
        folder = tmp_path / str(score)
        save_sweep_figure(sweep_of(folder, tuple(parameters), values), folder / "a.png")
        assert sorted(path.name for path in folder.iterdir()) == ["a.png", "sweep.json"]
        return matplotlib.image.imread(folder / "a.png")

    one, other = pixels(0.5), pixels(0.6)
    assert one.shape != other.shape or not np.array_equal(one, other)
