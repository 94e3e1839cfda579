"""What `aemjax prepare` hands on: to Beam its flags, to Python where it was started."""

import argparse
import json
import os
import sys

import numpy as np
import pytest
import soundfile as sf
from apache_beam.options.pipeline_options import PipelineOptions

from aemjax import cli
from tests.aemjax.cli.conftest import run

BIRDS = """
from aemjax.data import catalog, manifest

BIRDS = catalog.Dataset(read=manifest.read, home="", classes=None, protocols=())
"""


def beam_flags():
    """Every one that Beam has."""
    parser = argparse.ArgumentParser(add_help=False, conflict_handler="resolve")
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    return [flag for action in parser._actions for flag in action.option_strings]


@pytest.fixture
def prepared(monkeypatch):
    """Options of a preparation that was not run."""
    found = {}

    def prepare(*_, **options):
        found.update(options)
        shown = ("dataset", "listed", "kept", "skipped", "checksum")
        return dict.fromkeys(shown)

    monkeypatch.setattr("aemjax.data.prepare.prepare", prepare)
    return found


def test_no_flag_of_beams_is_taken_for_a_misspelt_one(prepared):
    words = ["prepare", "esc50", "--source=in", "--out=out", "--runner=X"]
    flags = [flag for flag in beam_flags() if flag not in ("--runner", "-o")]
    assert len(flags) > 150 and "--num_workers" in flags
    for flag in flags:
        cli.main([*words, f"{flag}=4"])
        assert prepared["beam_flags"] == ["--runner=X", f"{flag}=4"]
    cli.main([*words, "--num_workers", "4"])
    assert prepared["beam_flags"] == ["--runner=X", "--num_workers", "4"]


@pytest.mark.parametrize("flag", ["--wrokers", "--sead", "--strage"])
def test_misspelt_ones_are(prepared, capsys, flag):
    words = ["prepare", "esc50", "--source=in", "--out=out", "--runner=X"]
    _, lines, code = run(capsys, *words, f"{flag}=4")
    assert code == 2 and f"unrecognized argument {flag}=4; is --" in lines[-1]


def test_a_dataset_of_a_module_in_the_current_folder(tmp_path, monkeypatch, capsys):
    """The console script has its own folder in the path, not this one."""
    here = ("", os.getcwd(), str(tmp_path))
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in here])
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 800)
    (tmp_path / "in" / "owl").mkdir(parents=True)
    sf.write(tmp_path / "in" / "owl" / "a.wav", noise, 16_000)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "birds_of_mine.py").write_text(BIRDS)
    words = ["prepare", "birds_of_mine:BIRDS", f"--source={tmp_path}/in"]
    words.append(f"--out={tmp_path}/out")
    monkeypatch.chdir(tmp_path)
    _, lines, code = run(capsys, *words)
    assert code == 1 and lines[-1] == (
        "error: dataset 'birds_of_mine:BIRDS' cannot be imported: No module named "
        "'birds_of_mine'; run the command in the folder that holds its package, or "
        "install it"
    )
    monkeypatch.chdir(tmp_path / "mine")
    out, _, code = run(capsys, *words)
    assert (code, json.loads(out)["dataset"]) == (0, "birds")


def test_a_runners_flags_are_passed_on(prepared):
    words = ["prepare", "esc50", "--source=in", "--out=out", "--storage=flac"]
    cli.main([*words, "--runner=FlinkRunner", "--flink_master=host:8081"])
    flags = ["--runner=FlinkRunner", "--flink_master=host:8081"]
    assert prepared["beam_flags"] == flags
    assert prepared["storage"] == "flac"
