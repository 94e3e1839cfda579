import pytest

from benchmarks import waiting
from tests.jobs import tiny_finetune, tiny_pretrain


@pytest.mark.slow
def test_waiting_is_what_the_jobs_say(monkeypatch, capsys):
    def pretraining():
        config = tiny_pretrain("")
        config.model.num_classes = waiting.CLASSES
        return config

    def finetuning(variant):
        config = tiny_finetune("", variant)
        config.data.update(protocol="lists", train="full:1,2,3", eval="full:4,5")
        config.data.fold = 0
        return config

    monkeypatch.setattr(waiting.pretraining_demo, "get_config", pretraining)
    monkeypatch.setattr(waiting.finetuning_demo, "get_config", finetuning)
    sizes = {"CLIPS": 50, "LONG_CLIPS": 30, "LONG_S": 0.5, "CROP_S": 0.2, "STEPS": 8}
    for name, value in sizes.items():
        monkeypatch.setattr(waiting, name, value)
    seconds = {name: (classes, 0.5) for name, (classes, _) in waiting.SETS.items()}
    monkeypatch.setattr(waiting, "SETS", seconds)
    rows = waiting.run(repeats=1)
    assert [row["training"] for row in rows] == [
        "pretraining, the demo's clips",
        "fine-tuning, the demo's clips",
        "pretraining, int16, 0.5 s",
        "pretraining, flac, 0.5 s",
    ]
    for row in rows:
        assert len(row["each"]) >= 4 and 0 <= row["waiting for data"] < 1
    assert capsys.readouterr().out.count(" waits ") == 4
