"""A report on real runs: whole, its own file, and true to what the runs wrote."""

import html.parser
import json
import re

import numpy as np
import pytest

from aemjax import cli
from aemjax.report.page import write_report
from aemjax.report.tables import escape_markdown
from aemjax.train import checkpoint
from finetune.train import train
from tests.aemjax.report import made
from tests.jobs import tiny_finetune

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """What a page holds; fails where an element is not closed."""

    def __init__(self, text):
        super().__init__()
        self.names, self.links, self.loads, self.tags, self.open = [], [], [], [], []
        self.cells, self.captions = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "figcaption":
            self.captions.append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.names.append(value)
            elif name in ("href", "xlink:href") and value.startswith("#"):
                self.links.append(value[1:])
            elif name in ("href", "xlink:href", "src", "srcset", "data", "action"):
                self.loads.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "figcaption":
            self.captions[-1] += data
        elif {"td", "th"} & set(self.open):
            self.cells[-1] += data


def check(text):
    """A page that loads nothing, and whose links lead somewhere."""
    page = Page(text)
    assert len(set(page.names)) == len(page.names)
    assert page.links and set(page.links) <= set(page.names)
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", text)
    return page


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, esc50):
    """A run of fold 1 from scratch, with a learned front end."""
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    train(tiny_finetune(esc50, "scratch"), folder)
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory, tuned, pretrained):
    """A report on both kinds of runs and a sweep, through the command."""
    folder = tmp_path_factory.mktemp("report")
    trials = [{"parameters": {"model.width": w}, "value": w / 3} for w in (1, 2)]
    made.write_sweep(folder / "widths", trials, parameters=["model.width"])
    out = folder / "new" / "out"
    folders = [tuned, pretrained, folder / "widths"]
    cli.main(["report", *map(str, folders), "--out", str(out)])
    assert sorted(p.name for p in out.iterdir()) == ["report.html", "report.md"]
    return out


def test_figures_of_a_real_run_are_all_there(page):
    found = check((page / "report.html").read_text())
    assert found.tags.count("svg") == len(found.captions)
    captions = "\n".join(found.captions)
    assert captions.count("Learning curves") == 2  # of both runs
    assert captions.count("Frequency responses of the 64 filters of 33 taps") == 2
    assert captions.count("Class shares") == 2
    assert captions.count("Confusion: ") >= 1
    assert "PCA of the embeddings of 20 clips evaluated; fold 1" in captions


def test_tables_say_what_the_results_say(page, tuned, pretrained):
    found = check((page / "report.html").read_text())
    results = json.loads((tuned / "results.json").read_text())
    (fold,) = results["runs"]
    for entry in ("best", "last"):
        value = fold[entry]["metrics"]["accuracy"]
        low, high = fold[entry]["intervals"]["accuracy"]
        assert f"{value:.4f} ({low:.4f}\u00a0to\u00a0{high:.4f})" in found.cells
    mean_ap = json.loads((pretrained / "results.json").read_text())["last"]["mAP"]
    assert f"{mean_ap:.4f}" in found.cells
    weights, _, _ = checkpoint.load(str(pretrained))
    sizes = [np.size(x) for x in _leaves(weights["params"])]
    assert f"{sum(sizes):,}" in (page / "report.html").read_text()


def _leaves(tree):
    return (
        [x for child in tree.values() for x in _leaves(child)]
        if isinstance(tree, dict)
        else [tree]
    )


def test_markdown_has_the_same_tables(page):
    found = check((page / "report.html").read_text())
    lines = (page / "report.md").read_text().splitlines()
    cells = [
        cell
        for line in lines
        if line.startswith("| ")
        for cell in line.removeprefix("| ").removesuffix(" |").split(" | ")
    ]
    assert cells and "<svg" not in "".join(lines)
    assert [cell.strip() for cell in cells] == [
        escape_markdown(cell) for cell in found.cells
    ]


def test_a_run_whose_data_and_checkpoints_are_gone(tmp_path):
    made.write_run(tmp_path / "run", folds=2, entries=("best", "last", "ema"))
    write_report([tmp_path / "run"], tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    captions = check(text).captions
    assert [caption.partition(":")[0] for caption in captions] == [
        *("Learning curves", "Confusion", "Confusion", "Confusion"),
        "Class shares of the clips evaluated, runs summed",
    ]
    assert "No map of clips: nowhere is not a prepared set" in text
    assert "No filters: " in text and "holds no checkpoints/" in text
    assert "selected on the clips evaluated on: no other clips were held out" in text


def test_calibration_is_the_mean_over_folds(tmp_path):
    folder = tmp_path / "run"
    results = made.write_run(folder, folds=2)
    for run, temperature in zip(results["runs"], (1.5, 2.0), strict=True):
        run["last"]["calibrated"] = {"temperature": temperature, "log_loss": 0.25}
    (folder / "results.json").write_text(json.dumps(results))
    write_report([folder], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Calibrated on validation clips, mean over folds" in text
    assert "| last epoch | 1.7500 | 0.2500 |" in text


@pytest.mark.parametrize("held_out", [False, True])
def test_a_sweep_scored_by_what_is_evaluated_flatters(tmp_path, held_out):
    chosen = "20% of the clips" if held_out else "the clips evaluated on"
    trials = [{"parameters": {"seed": n}, "value": 0.5 + n / 10} for n in range(2)]
    options = {"parameters": ["seed"], "selected_on": chosen}
    made.write_sweep(tmp_path / "sweep", trials, **options)
    write_report([tmp_path / "sweep"], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert ("its figures flatter" in text) != held_out
    assert "The best is trial 1." in text


def test_maps_are_left_out_on_request(tmp_path, tuned):
    write_report([tuned], tmp_path / "out", maps=False)
    captions = check((tmp_path / "out" / "report.html").read_text()).captions
    assert not any("embeddings" in caption for caption in captions)
    assert any("Frequency responses" in caption for caption in captions)


def test_another_set_by_now_and_a_spectral_front_end(tmp_path, tuned, monkeypatch):
    folder = tmp_path / "run"
    folder.symlink_to(tuned)
    loaded = checkpoint.load(str(tuned / "fold1_seed0"))
    del loaded[0]["params"]["frontend"]
    monkeypatch.setattr("aemjax.report.runs.load", lambda spec: loaded)
    about = json.loads((tuned / "config.json").read_text())
    about["config"]["data_fingerprint"] = "another"
    monkeypatch.setattr("aemjax.report.runs.read_config", lambda path: about)
    write_report([folder], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "is another one by now" in text
    assert "No learned filters: the front end llf1 has none." in text


NAMES = ["<b>bold", "a|b", "*a* _b_ &"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(tmp_path, name):
    made.write_run(tmp_path / name, init_from=f"{name}/{name}")
    write_report([tmp_path / name], tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    page = check(text)
    assert name in page.cells and "b" not in page.tags
    if "<" in name:
        assert name not in text
    lines = (tmp_path / "out" / "report.md").read_text().splitlines()
    rows = [x for x in lines if x.startswith(f"| {escape_markdown(name)} |")]
    assert rows  # of twelve cells, whatever the name
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 13 for row in rows)


def test_nothing_is_written_where_a_folder_is_no_run(tmp_path, capsys):
    made.write_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="empty has no results.json; is the run fin"):
        cli.main(
            [
                *("report", str(tmp_path / "run"), str(tmp_path / "empty")),
                *("--out", str(tmp_path / "out")),
            ]
        )
    assert not (tmp_path / "out").exists()


def test_without_a_folder_to_write_to_tables_are_printed(tmp_path, capsys):
    folders = [tmp_path / "a/run", tmp_path / "b/run"]
    results = [made.write_run(folder, folds=2) for folder in folders]
    trials = [{"parameters": {"a": n}, "value": n / 4} for n in (1, 3)]
    made.write_sweep(tmp_path / "sweep", trials, parameters=["a"])
    cli.main(["report", *map(str, folders), str(tmp_path / "sweep")])
    lines = capsys.readouterr().out.replace("\u00a0", " ").splitlines()
    for name, line, result in zip("ab", lines[2:4], results, strict=True):
        assert line.startswith(f"| {name}/run | icbhi2017 | official division | ")
        last = result["summary"]["last"]["AS"]
        assert f" {last['mean']:.4f} ± {last['std']:.4f} (" in line
    assert lines[-2:] == [
        "| 1 | 3 | complete | 0.7500 |",
        "| 0 | 1 | complete | 0.2500 |",
    ]
