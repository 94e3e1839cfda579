"""What shows before a run: --dry_run, --compile_only."""

import importlib.util
import logging
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

import finetune.train
import pretrain.train
from aemjax.data import pipeline
from aemjax.train import chips, sharding
from configs.pretrain import aemresnet_audioset
from pretrain.compile_only import compile_only, step_cost, step_recipe
from tests.jobs import ROOT, overrides, tiny_finetune, tiny_pretrain

TOPOLOGY = "v5e:4x4"


def report(caplog):
    """The lines of the one report."""
    (found,) = (m for m in caplog.messages if m.startswith("a dry run"))
    return found.splitlines()


def test_a_dry_pretraining(tmp_path, audioset, caplog, monkeypatch):
    monkeypatch.setattr(chips, "peak_flops", lambda device: 1e12)
    monkeypatch.setattr(chips, "peak_memory_bytes", lambda device: 3 * 2**29)
    evaluated = []
    logits = pretrain.train.Evaluator.logits

    def note(self, weights, data, rows):
        evaluated.append(data.n_samples[rows])
        return logits(self, weights, data, rows)

    monkeypatch.setattr(pretrain.train.Evaluator, "logits", note)
    config = tiny_pretrain(audioset)
    with caplog.at_level(logging.INFO):
        assert pretrain.train.train(config, tmp_path / "run", dry=True) == {}
    assert list(tmp_path.iterdir()) == []
    title, size, arguments, temporaries, operations, *rest = report(caplog)
    assert title == "a dry run, nothing is written:"
    shapes = step_recipe(config, sharding.data_mesh()).state_shapes
    parameters = sum(x.size for x in jax.tree.leaves(shapes.params))
    assert size == f"{parameters:,} parameters on 8 devices (cpu)"
    cost = step_cost(config, sharding.data_mesh())
    assert cost.table().splitlines()[:2] == [arguments, temporaries]
    assert operations.startswith("operations ")
    *_, sent, speed, share, memory = rest
    assert sent.startswith("all-reduce ")
    assert re.fullmatch(
        r"loss 0\.\d{4} after 5 steps, [\d.]+ clips/s, reading included", speed
    )
    assert re.fullmatch(r"[\d.]+% of the chips' peak", share)
    assert memory == "1.50 GiB of memory in use at most, per device"
    (lengths,) = evaluated  # the longest, which take the most memory
    assert len(lengths) <= 16 and list(lengths) == sorted(lengths, reverse=True)


@pytest.mark.slow
def test_a_dry_finetuning(tmp_path, esc50, caplog):
    config = tiny_finetune(esc50, "scratch")
    with caplog.at_level(logging.INFO):
        assert finetune.train.train(config, tmp_path / "run", dry=True) == {}
    assert list(tmp_path.iterdir()) == []
    assert report(caplog)[-1].startswith("loss ")


def test_a_dry_run_meets_what_training_would(tmp_path, audioset, monkeypatch):
    def fail(self, step):
        raise ValueError("record 7 is damaged")

    config = tiny_pretrain(audioset)
    monkeypatch.setattr(pipeline.CropBatches, "read", fail)
    with pytest.raises(ValueError, match="record 7 is damaged"):
        pretrain.train.train(config, tmp_path / "run", dry=True)
    config.model.num_classes = 527
    with pytest.raises(ValueError, match="num_classes is 527"):
        pretrain.train.train(config, tmp_path / "run", dry=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_cost_without_data_is_that_of_the_step(audioset):
    config, mesh = tiny_pretrain(audioset), sharding.data_mesh()
    config.augment.update(mixup_alpha=0.0, noise_probability=0.0)
    plan = step_recipe(config, mesh)
    state = plan.create_state()
    batch = pipeline.CropBatches(
        pretrain.train.PreparedSet(audioset), np.arange(40), 16, 4000, 0
    ).read(0)
    whole = sharding.global_batch(batch, sharding.shardings(mesh)[1])
    step = plan.train_step.compile(state, whole).compiled
    config.data.path = "nowhere"
    cost = step_cost(config, mesh)
    memory = step.memory_analysis()
    assert cost.arguments_bytes == memory.argument_size_in_bytes
    assert cost.temporaries_bytes == memory.temp_size_in_bytes
    per_device = sum(x.nbytes for x in jax.tree.leaves(state))
    per_device += sum(x.nbytes for x in batch.values()) // 8
    assert cost.arguments_bytes == per_device


def test_a_batch_that_the_mesh_cannot_share_is_refused(audioset):
    config = tiny_pretrain(audioset)
    config.train.batch_size = 12
    with pytest.raises(ValueError, match="batch_size 12 is not a multiple of 16"):
        step_cost(config, sharding.data_mesh())


def run_compile_only(config, topology=TOPOLOGY):
    arguments = [f"--config.{key}={value}" for key, value in overrides(config).items()]
    path = "--config=configs/pretrain/aemresnet_audioset.py"
    return subprocess.run(
        [sys.executable, "-m", "pretrain", path, *arguments]
        + [f"--compile_only={topology}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


needs_libtpu = pytest.mark.skipif(
    not importlib.util.find_spec("libtpu"), reason="needs jax[tpu]; no TPU"
)


@pytest.mark.skipif(importlib.util.find_spec("libtpu"), reason="jax[tpu] is installed")
def test_without_libtpu_the_command_ends_in_one_line():
    done = run_compile_only(aemresnet_audioset.get_config())
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot compile for TPU 'v5e:4x4' (")
    assert line.endswith("and `pip install 'aemjax[tpu]'`")


@pytest.mark.tpu
@needs_libtpu
def test_a_tiny_model_compiles_for_a_slice():
    config = tiny_pretrain("nowhere")
    config.train.batch_size = 64
    done = run_compile_only(config)
    assert done.returncode == 0, done.stderr
    kinds = [line.split()[0] for line in done.stdout.splitlines()]
    assert kinds == ["arguments", "temporaries", "operations", "all-reduce"]
    unknown = run_compile_only(config, "v5e:9x9x9")
    assert unknown.returncode == 1
    assert "error: cannot compile for TPU 'v5e:9x9x9'" in unknown.stderr


@pytest.mark.tpu
@needs_libtpu
def test_aemresnet_compiles_for_a_slice_and_fits():
    """16 chips of 16 GB; on a few cores it takes a quarter of an hour or more."""
    config = aemresnet_audioset.get_config()
    config.model.dtype = "bfloat16"
    cost = compile_only(config, TOPOLOGY)
    assert set(cost.collectives) == {"all-reduce"}
    assert cost.arguments_bytes + cost.temporaries_bytes < 16e9
