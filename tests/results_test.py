"""The tables of docs/results say what the numbers of each fold beside them say."""

import json
import re

import numpy as np
import pytest

from aemjax.train.intervals import fold_interval
from finetune import compress_report
from tests.jobs import ROOT

RESULTS = ROOT / "docs/results"
MODELS = {"AemNet": "aemnet", "AemNet-DW": "aemnet_dw", "AemResNet": "aemresnet"}


def spread(values):
    return f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}"


@pytest.fixture(scope="module")
def esc10():
    """(text, {run: its numbers})."""
    about = json.loads((RESULTS / "esc10.json").read_text())
    return (RESULTS / "esc10.md").read_text(), {
        run["run"]: run for run in about["rows"]
    }


@pytest.mark.parametrize("start", ["scratch", "pretrained"])
@pytest.mark.parametrize("model", MODELS)
def test_cells_of_esc10(esc10, model, start):
    text, runs = esc10
    row = re.search(rf"^\| {model} \| {start} \| (.*) \|$", text, re.M)[1].split(" | ")
    run = runs[f"esc10_{MODELS[model]}_{'scratch' if start == 'scratch' else 'pre1.0'}"]
    assert run["train_clips"] == [320] * 5 and run["eval_clips"] == [80] * 5
    accuracies = [run[which]["accuracy"]["folds"] for which in ("best", "last", "ema")]
    low, high = fold_interval(accuracies[1])
    assert row == [
        *map(spread, accuracies),
        spread(run["last"]["F1"]["folds"]),
        f"{100 * low:.1f} to {100 * high:.1f}",
    ]


@pytest.mark.parametrize("model", MODELS)
def test_gains_of_esc10(esc10, model):
    text, runs = esc10
    before, after = (
        np.array(runs[f"esc10_{MODELS[model]}_{start}"]["last"]["accuracy"]["folds"])
        for start in ("scratch", "pre1.0")
    )
    low, high = fold_interval(list(after - before))
    points = f"{100 * (after - before).mean():+.2f}"
    shown = rf"{model} \{points}( points)?\s+\({100 * low:.1f} to {100 * high:.1f}\)"
    assert re.search(shown, text)


@pytest.mark.parametrize(
    ("page", "name", "before", "after"),
    [
        ("llf", "AemNet 1.0", "llf1_aemnet_1.0", "llf2_aemnet_1.0"),
        ("llf", "AemNet-DW 1.0", "llf1_dw_1.0", "llf2_dw_1.0"),
        (
            "esc10_full_width",
            "AemNet 2.0",
            "esc10_aemnet_scratch",
            "esc10_aemnet_pretrained",
        ),
        (
            "esc10_full_width",
            "AemResNet 1.0",
            "esc10_aemresnet_scratch",
            "esc10_aemresnet_pretrained",
        ),
    ],
)
def test_gains_at_published_widths(page, name, before, after):
    runs = json.loads((RESULTS / f"{page}.json").read_text())["runs"]
    found = {run["run"]: np.array(run["last"]["accuracy"]) for run in runs}
    gains = found[after] - found[before]
    low, high = fold_interval(list(gains))
    points = f"{100 * gains.mean():+.2f} ({100 * low:.1f} to {100 * high:.1f})"
    assert f"| {name} | {points} |" in (RESULTS / f"{page}.md").read_text()


def test_gains_of_spectra(esc10):
    text = (RESULTS / "spectral.md").read_text()
    runs = json.loads((RESULTS / "spectral.json").read_text())["runs"]
    found = {run["run"]: np.array(run["last"]["accuracy"]) for run in runs}
    log_mel, mfcc = found["esc10_log_mel"], found["esc10_mfcc"]
    llf1 = np.array(esc10[1]["esc10_aemresnet_scratch"]["last"]["accuracy"]["folds"])
    assert f"log-mel - `llf1` ({spread(llf1)})" in text
    for against, gains in (
        (f"log-mel - `llf1` ({spread(llf1)})", log_mel - llf1),
        ("MFCC - `llf1`", mfcc - llf1),
        ("log-mel - MFCC", log_mel - mfcc),
    ):
        low, high = fold_interval(list(gains))
        points = f"{100 * gains.mean():+.2f} ({100 * low:.1f} to {100 * high:.1f})"
        assert f"| {against} | {points} |" in text


def test_gains_on_icbhi():
    text = (RESULTS / "icbhi.md").read_text()
    runs = json.loads((RESULTS / "icbhi.json").read_text())["runs"]
    found = {run["run"]: run["last"] for run in runs}
    losses = {"ce": "cross-entropy", "00": "focal, 0", "05": "focal, 0.5"}
    for loss, name in (losses | {"10": "focal, 1", "20": "focal, 2"}).items():
        cells = [name]
        for metric in ("AS", "F1"):
            before, after = (
                np.array(found[f"custom_{start}_{loss}"][metric])
                for start in ("scratch", "pre")
            )
            low, high = fold_interval(list(after - before))
            mean = 100 * (after - before).mean()
            cells.append(f"{mean:+.2f} ({100 * low:.1f} to {100 * high:.1f})")
        assert f"| {' | '.join(cells)} |" in text
    for start, words in (("scratch", "from scratch"), ("pre", "pretrained")):
        before, after = (
            np.mean(found[f"custom_{start}_{loss}"]["F1"]) for loss in ("ce", "00")
        )
        assert (
            f"{100 * (after - before):.1f} {'points ' * (start == 'scratch')}{words}"
            in text
        )


def pages():
    """(page, run, column, cell) of every table whose rows are runs."""
    for path in sorted(RESULTS.glob("*.md")):
        for table in re.findall(r"(?:^\|.*\n)+", path.read_text(), re.M):
            head, _, *rows = (
                [cell.strip() for cell in line.strip("| ").split(" | ")]
                for line in table.splitlines()
            )
            if head[0] != "run":
                continue
            for run, *cells in rows:
                for column, cell in zip(head[1:], cells, strict=True):
                    if column.partition(" ")[0] in ("best", "last", "averaged"):
                        yield pytest.param(path, run, column, cell)


@pytest.mark.parametrize(("path", "run", "column", "cell"), list(pages()))
def test_cells_are_of_runs(path, run, column, cell):
    runs = json.loads(path.with_suffix(".json").read_text())["runs"]
    (found,) = (x for x in runs if x["run"] == run.strip("`"))
    which, metric = column.split()
    numbers = found["ema" if which == "averaged" else which]
    values = numbers[metric]
    if len(values) > 1:
        assert cell == spread(values)
        return
    low, high = numbers[f"{metric} interval"]
    assert cell == f"{100 * values[0]:.2f} ({100 * low:.1f} to {100 * high:.1f})"


@pytest.mark.parametrize("name", ["aemnet_dw", "aemresnet"])
def test_tables_of_compression(name):
    content = json.loads((RESULTS / f"compressed_{name}.json").read_text())
    assert compress_report.table(content) in (RESULTS / "compression.md").read_text()


def test_integers_in_engines():
    text = (RESULTS / "compression.md").read_text()
    for row in json.loads((RESULTS / "integers.json").read_text())["rows"]:
        values = [row[key] for key in ("float32", "onnx", "litert")]
        cells = [spread(x) if x else "" for x in values]
        line = " | ".join([row["network"], row["integers"], *cells])
        assert f"| {line} |" in text


def test_sparsities_of_aemresnet():
    text = (RESULTS / "sparsity.md").read_text()
    runs = json.loads((RESULTS / "sparsity_aemresnet.json").read_text())["runs"]
    accuracies = {run["run"]: 100 * run["last"]["accuracy"][0] for run in runs}
    for share in ("0.6", "0.8", "0.9"):
        cells = [
            f"{accuracies[f'{kind}_{share}']:.2f}" for kind in ("ticket", "magnitude")
        ]
        assert (
            f"| {float(share):.0%} | {' | '.join(cells)} |".replace("%", " %") in text
        )


def test_folds_of_unfinished_runs():
    text = (RESULTS / "esc10_full_width.md").read_text()
    content = json.loads((RESULTS / "esc10_full_width.json").read_text())
    for run in content["unfinished"]:
        folds = ", ".join(map(str, run["fold"]))
        cells = ", ".join(f"{100 * x:.2f}" for x in run["last accuracy"])
        assert f"| {folds} | {cells} |" in text
    for run in content["pretraining"]:
        assert f"{100 * run['last accuracy']:.1f} % (Aem" in text


def test_speed_on_a_gpu():
    text = (ROOT / "docs/speed.md").read_text()
    prose = " ".join(text.split())
    for row in _rows("training", "gpu")[1:]:
        cells = [str(row["batch"]), f"{row['clips/s']:,.0f}"]
        cells += [f"{100 * row['share of the matrix rate']:.0f} %"]
        cells += [f"{peer['ours / theirs']:.2f}" for peer in row["pytorch"].values()]
        assert f"| {' | '.join(cells)} |" in text
        if row["batch"] == 64:
            peer = row["pytorch"]["compiled"]["memory_gib"]
            assert re.search(f"{row['memory_gib']:.1f} (GiB )?to {peer:.1f}", prose)
    for row in _rows("training", "gpu_forms"):
        cells = f"| {row['by']} | {row['clips/s']:,.0f} | {row['TFLOP/s']} |"
        assert cells in text
    pool, conv, bank = (
        f"{row['plain / ours']:.2f}"
        for row in _rows("ops", "gpu")
        if row["part"] == "with gradient"
    )
    assert f"{pool} times as long as ours (max-pool), {conv} (conv3)" in prose
    assert f"and {bank} (filter bank" in prose
    one, four = _rows("pipeline", "gpu")
    assert (
        f"{one['clips/s']:,} clips/s with one reader ({one['/ DataLoader']:.2f} times"
    ) in prose
    assert f"{four['clips/s']:,} with four ({four['/ DataLoader']:.2f} times)" in prose
    runs = json.loads((RESULTS / "esc10_full_width.json").read_text())["pretraining"]
    shares = [100 * run["waiting for data"] for run in runs]
    assert f"for data {min(shares):.1f} to {max(shares):.1f} %" in prose


def test_speed_on_a_cpu():
    text = (ROOT / "docs/speed.md").read_text()
    cells = {}
    for row in _rows("latency"):
        if row["engine"] not in ("PyTorch traced", "PyTorch compiled"):
            key = (row["network"], row["seconds"])
            cells.setdefault(key, []).append(f"{row['PyTorch / engine']:.2f}")
    assert len(cells) == 6
    for (_, seconds), ratios in cells.items():
        assert f"| {seconds} s | {' | '.join(ratios)} |" in text
    pairs = zip(_rows("training")[1:], _rows("training", "cpu_tuned")[1:], strict=True)
    for own, tuned in pairs:
        ratios = [
            peer["ours / theirs"]
            for row in (own, tuned)
            for peer in row["pytorch"].values()
        ]
        ratios.append(tuned["clips/s"] / own["clips/s"])
        batch = f"{own['batch']} x {own['seconds']:.0f} s"
        cells = re.escape(" | ".join(f"{ratio:.2f}" for ratio in ratios))
        assert re.search(rf"{batch}[^|]* \| {cells} \|", text)
    gains = {
        row["operation"]: row["plain / ours"]
        for row in _rows("ops")
        if row["part"] == "with gradient"
    }
    prose = " ".join(text.split())
    for sentence in (
        "a 3x3 convolution of AemResNet takes 1/{compiling 3x3:.2f} of the time",
        "a 1x1 convolution takes 1/{1x1, of rows:.2f} of the time",
        "its gradient a product of patches, 1/{conv3:.2f}.",
    ):
        assert sentence.format_map(gains) in prose
    for row in _rows("streaming"):
        assert f"{row['look_ahead_s']:.2f} s of Aem" in text
        assert (
            f"| {row['load']:.3f} | {row['streaming / whole']:.2f} "
            f"| {row['median_latency_s']:.2f} s | {row['worst_latency_s']:.2f} s |"
        ) in text


def test_start_memory_and_files():
    text = (ROOT / "docs/speed.md").read_text()
    for row in _rows("inference"):
        if "process" in row:
            cells = [f"`{row['process']}`", f"{row['seconds']:.2f}"]
            cells += [f"{row['seconds / floor']:.2f}", f"{row['peak MiB']:,}"]
        else:
            cells = [f"{row['files']:,}", f"{row['clips/s']:.0f}"]
            cells += [f"{row['embed / loop']:.2f}", f"{row['peak MiB']:,}"]
            cells += [f"{row['peak MiB of the loop']:,}"]
        assert f"| {row['network']} | {' | '.join(cells)} |" in text


def test_what_llf2_takes():
    text = (RESULTS / "llf.md").read_text()
    for row in _rows("frontends"):
        cells = [f"{ratio:.2f}" for ratio in row["llf2 / llf1"].values()]
        assert f"| {row['network']} | {' | '.join(cells)} |" in text


def test_storage():
    size, short, whole = (row["flac / int16"] for row in _rows("storage"))
    text = (ROOT / "docs/data.md").read_text()
    assert f"| twin of AudioSet | {size:.2f} | {whole:.2f} | {short:.2f} |" in text


def test_five_folds():
    text = (ROOT / "docs/speed.md").read_text()
    first, second = (row["time of five commands / of one"] for row in _rows("folds"))
    assert (
        f"took {first:.2f} times as long" in text and f", {second:.2f} times." in text
    )


def test_compile_times():
    text = (ROOT / "docs/speed.md").read_text()
    for row in _rows("compile"):
        cells = [row["network"]]
        for key in ("compile_s", "process_s"):
            cells += [f"{row[f'{key}, warm / cold']:.2f}", f"{row[key]:.0f} s"]
        assert f"| {' | '.join(cells)} |" in text


def test_speed_from_disk_to_device():
    text = (ROOT / "docs/speed.md").read_text()
    for row in _rows("waiting"):
        share = f"{100 * row['waiting for data']:.1f} %"
        assert f"| {row['training']} | {share} |" in text
        assert row["waiting for data"] < 0.02  # as the page says
    for row in _rows("pipeline"):
        assert (
            f"| {row['storage']} | {row['crop_s']:.0f} s | {row['readers']} "
            f"| {row['/ DataLoader']:.2f} | {row['/ bare reads']:.3f} "
            f"| {row['clips/s']:,} |"
        ) in text


def test_what_scaling_takes_from_the_pipeline():
    (rate,) = (
        row["clips/s"]
        for row in _rows("pipeline")
        if (row.get("storage"), row.get("crop_s"), row.get("readers"))
        == ("int16", 10, 1)
    )
    assert (
        f"one reader brought {rate:,} clips" in (ROOT / "docs/scaling.md").read_text()
    )


def test_speed_of_evaluation():
    text = (ROOT / "docs/speed.md").read_text()
    for row in _rows("evaluation"):
        assert (
            f"| {row['network']} | {row['batch']} | {row['loop']} "
            f"| {row['ours / loop']:.2f} | {row['lengths']} "
            f"| {row['compiling / pass, loop']:.0f} "
            f"| {row['compiling / pass, ours']:.0f} |"
        ) in text


def _rows(name, where="cpu"):
    path = ROOT / f"benchmarks/results/{name}_{where}.json"
    return json.loads(path.read_text())["rows"]
