"""The chain of compression, stage by stage."""

import json
import shutil

import numpy as np
import pytest

from aemjax import cli
from aemjax.compress import pruning
from aemjax.train.checkpoint import load
from aemjax.train.workdir import read_config
from finetune import compress_report
from finetune.compress import compress
from finetune.compress_report import Stage
from finetune.train import train
from tests.jobs import tiny_finetune


def config_of(esc50, **options):
    config = tiny_finetune(esc50, "scratch")
    config.optimizer.lr_fraction = 1.0
    config.compress.update(magnitude=False, sparsity=0.5, int8_epochs=1.0, **options)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory, esc50, pretrained):
    folder = tmp_path_factory.mktemp("compressed")
    config = config_of(esc50)
    config.init_from = str(pretrained)
    config.optimizer.lr_fraction = 0.1
    compress(config, folder)
    return folder


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "compress.json").read_text())


def test_stages_go_on_from_each_other(folder, content, pretrained):
    names = [stage["stage"] for stage in content["stages"]]
    assert names == ["dense", "ticket_0.5000", "int8_0.5000"]
    ticket, integers = (read_config(folder / name)["config"] for name in names[1:])
    assert ticket["prune"]["run"] == str(folder / "dense")
    assert ticket["init_from"] == f"{pretrained}@0"
    assert ticket["optimizer"]["lr_fraction"] == 1.0  # all of it is random again
    assert integers["quantize"]["run"] == str(folder / "ticket_0.5000")
    assert integers["optimizer"]["learning_rate"] == 1e-4
    assert integers["model"]["numerics"] == "int8"
    assert "compress" not in ticket


def test_sizes_are_those_of_the_weights(folder, content):
    dense, ticket, integers = content["stages"]
    params = load(f"{folder}/dense/fold1_seed0")[0]["params"]
    total = sum(np.size(x) for x in pruning.flatten_dict(params).values())
    zeros = pruning.count_zeros(params, 0.5)
    assert dense["mean"]["nonzero"] <= total
    assert ticket["mean"]["nonzero"] <= total - zeros
    assert ticket["mean"]["nonzero"] > 0.9 * (total - zeros)
    assert integers["mean"]["nonzero"] == ticket["mean"]["nonzero"]
    ratio = ticket["mean"]["published_kib"] / integers["mean"]["published_kib"]
    assert ratio == pytest.approx(4)
    assert integers["mean"]["stored_kib"] < 0.5 * ticket["mean"]["stored_kib"]
    file = folder / "int8_0.5000/fold1_seed0/int8.onnx"
    assert integers["mean"]["file_kib"] == file.stat().st_size / 1024


def test_integers_are_scored_by_their_engine(folder, content, esc50, capsys):
    file = folder / "int8_0.5000/fold1_seed0/int8.onnx"
    cli.main(["evaluate", str(file), "--data", str(esc50), "--split", "full:1"])
    found = json.loads(capsys.readouterr().out)
    scored = content["stages"][2]["runs"][0]["engine"]
    assert scored["clips"] == found["clips"]
    assert scored["log_loss"] == pytest.approx(found["log_loss"], rel=1e-5)
    simulated = content["stages"][2]["summary"]["log_loss"]["mean"]
    assert scored["log_loss"] == pytest.approx(simulated, rel=0.1)
    dense = content["stages"][0]
    assert "engine" not in dense["runs"][0]


def test_the_table_has_a_row_for_each(folder, content):
    table = (folder / "compress.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 3
    accuracy = 100 * content["stages"][2]["mean"]["engine_accuracy"]
    assert f"{accuracy:.2f}" in rows[2].split("|")[3]
    assert "61.49" not in table  # published at a sparsity of 60 %


def test_what_has_no_file_is_told_and_the_rest_is_there(
    folder, esc50, pretrained, tmp_path, monkeypatch
):
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    (again / "int8_0.5000/fold1_seed0/int8.onnx").unlink()

    def refuse(*args, **kwargs):
        raise ValueError("logits differ from the model's by 0.267")

    config = config_of(esc50)
    stages = [
        Stage("dense", "fine-tuned"),
        Stage("int8_0.5000", "INT8", 0.5, "ticket_0.5000"),
    ]
    monkeypatch.setattr(compress_report, "export_checkpoint", refuse)
    found = compress_report.write(config, again, stages)
    table = (again / "compress.md").read_text()
    assert "INT8, fold 1, has no file: logits differ from the model's by 0.267" in table
    assert found["stages"][1]["mean"]["stored_kib"] > 0


def test_finished_stages_are_not_run_again(folder, esc50, pretrained):
    config = config_of(esc50)
    config.init_from = str(pretrained)
    config.optimizer.lr_fraction = 0.1
    before = (folder / "dense/fold1_seed0/metrics.jsonl").stat().st_mtime_ns
    compress(config, folder)
    after = (folder / "dense/fold1_seed0/metrics.jsonl").stat().st_mtime_ns
    assert before == after


@pytest.mark.slow
def test_rounds_and_a_budget(esc50, tmp_path):
    config = config_of(esc50, rounds=2, rewind="finetuning", budget="30KiB")
    config.compress.magnitude = True
    content = compress(config, tmp_path)
    names = [stage["stage"] for stage in content["stages"]]
    assert names[:4] == ["dense", "magnitude_0.5000", "ticket_0.5000", "int8_0.5000"]
    assert (tmp_path / "ticket_0.2929/results.json").exists()
    ticket = read_config(tmp_path / "ticket_0.5000")["config"]
    assert ticket["prune"]["run"] == str(tmp_path / "ticket_0.2929")
    last = content["stages"][-1]
    assert last["int8"] and last["mean"]["stored_kib"] <= 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compress.sparsity": 1.5}, "sparsity is 1.5, expected a share"),
        ({"compress.sparsity": 0.9999}, "sparsity is 0.9999, which is .* of kernels"),
        ({"compress.budget": "100B"}, "budget is 100 bytes, but by the .* count"),
        ({"prune.scope": "layers"}, "prune.scope is 'layers'; known: global, layer"),
        ({"eval.resamples": 10}, "resamples is 10; .* needs at least 40"),
        ({"compress.rounds": 0}, "compress.rounds is 0, expected 1 or more"),
        ({"compress.rewind": "early"}, "rewind is 'early'; expected 'pretraining'"),
        ({"compress.select": "first"}, "select is 'first'; known: best, last"),
        ({"compress.budget": "128KB"}, "budget is '128KB', expected a number"),
        ({"prune.run": "x"}, "prune.run is 'x', but the chain names its own"),
        ({"compress.int8_epochs": 0.0}, "int8_epochs is 0.0, expected more than 0"),
        ({"eval.window_s": 1.0}, "no optimizer.groups and no eval.window_s"),
        ({"model.frontend": "mfcc"}, "'mfcc' knows of no numerics 'int8', only of"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_trains(
    esc50, tmp_path, change, message
):
    config = config_of(esc50)
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        compress(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_an_import_began_with_is_not_known(
    esc50, pretrained, tmp_path, monkeypatch
):
    config = config_of(esc50)
    config.init_from = str(pretrained)
    weights, card, _ = load(str(pretrained))
    monkeypatch.setattr("finetune.compress.load", lambda spec: (weights, card, 0))
    with pytest.raises(ValueError, match="no other step than 0, .* to 'finetuning'"):
        compress(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_later_rounds_go_back_to_where_the_first_began(esc50, tmp_path):
    """With a step: to that of the first run, not to the same of the ticket before."""
    starts = []

    def run(config, folder, **_):
        starts.append((folder.name, config.prune.run, config.prune.start))
        if config.quantize.run:
            raise KeyboardInterrupt
        return {"runs": [{"fold": 1, "seed": 0}]}

    with pytest.raises(KeyboardInterrupt):
        compress(config_of(esc50, rounds=3, rewind="100"), tmp_path, run=run)
    tickets = [x for x in starts if x[0].startswith("ticket")]
    assert [start for _, _, start in tickets] == ["100", "0", "0"]
    before = [f"{tmp_path}/{name}" for name in ("dense", tickets[0][0], tickets[1][0])]
    assert [run for _, run, _ in tickets] == before


def test_a_dry_run_writes_nothing(esc50, tmp_path):
    def run(config, folder, *, profile_steps, dry):
        assert dry and profile_steps is None
        return train(config, folder, dry=True)

    assert compress(config_of(esc50), tmp_path / "run", dry=True, run=run) == {}
    assert not (tmp_path / "run").exists()
