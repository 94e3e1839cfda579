"""The verb `serve`, as it is started, refused and ended."""

import re
import signal
import socket
import subprocess
import sys

import httpx
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from aemjax import cli
from aemjax.serve import release
from tests.aemjax.audio.files import encode, noise, save
from tests.jobs import ROOT


def refused(capsys, *words):
    """What it says instead of serving."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", *words])
    assert isinstance(stop.value.code, str), "no exit code 1"
    return stop.value.code


def test_it_serves_until_it_is_interrupted(released, tmp_path):
    save(tmp_path, noise(8_000, level=0.3), name="mine.wav")
    (tmp_path / "bad\n.wav").write_text("no audio")
    words = [f"--model={released}", f"--neighbours={tmp_path}", "--port=0", "--top-k=3"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from aemjax import cli; cli.main()", "serve", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        url = re.fullmatch(r"(http://127\.0\.0\.1:\d+/) is ready; Ctrl-C .*\n", line)[1]
        clip = encode(noise(8_000, level=0.3), format="WAV")
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert "<title>aemjax</title>" in client.get("/").text
            query = {"include": "neighbours"}
            response = client.post("/api/classify", params=query, content=clip)
        found = response.json()
        assert len(found["top"]) == 3
        assert found["neighbours"][0]["path"] == "mine.wav"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0 and out == ""
    assert "Traceback" not in err and "bad\\n.wav: cannot be read" in err


def test_what_cannot_be_served_is_said_at_once(released, tmp_path, capsys):
    model = f"--model={released}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = refused(capsys, model, f"--port={port}")
        assert text.startswith(
            f"error: cannot listen at 127.0.0.1 port {port}: Address"
        )
    assert "--port is 65536, expected 0" in refused(capsys, model, "--port=65536")
    text = refused(capsys, model, "--port=0", "--host=192.0.2.1")
    assert "cannot listen at 192.0.2.1 port 0" in text
    text = refused(capsys, model, "--max-s=0")
    assert text == "error: --max-s is 0.0, expected 0.01 to 300; choose another"
    assert "--max-mb is nan" in refused(capsys, model, "--max-mb=nan")
    assert "--timeout-s is -1.0" in refused(capsys, model, "--timeout-s=-1")
    text = refused(capsys, f"--model={tmp_path}", "--port=0")
    assert "holds neither card.json nor checkpoints/" in text
    assert "top_k is 0, expected 1 to 100" in refused(
        capsys, model, "--port=0", "--top-k=0"
    )
    other = tmp_path / "other.npz"
    np.savez(other, paths=["a"], embeddings=np.ones((1, 64), np.float32))
    text = refused(capsys, model, "--port=0", f"--neighbours={other}")
    assert "shape (1, 64), the network's are of 512 numbers" in text


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("params/head/dense/bias"),
        lambda arrays: arrays.update({"params/head/dense/bias": np.zeros(3, "f4")}),
        lambda arrays: arrays.update(
            {"batch_stats/frontend/bn1/mean": np.ones(3, "f4")}
        ),
    ],
    ids=["no bias", "short bias", "short mean"],
)
def test_a_damaged_network_is_not_served(released, tmp_path, capsys, damage):
    variables, card, step = release.read_network(released)
    arrays = flatten_dict(variables, sep="/")
    before = set(arrays), {name: x.shape for name, x in arrays.items()}
    damage(arrays)
    assert before != (set(arrays), {name: x.shape for name, x in arrays.items()})
    release.write_network(tmp_path, unflatten_dict(arrays, sep="/"), card, step)
    text = refused(capsys, f"--model={tmp_path}", "--port=0")
    assert "the weights are not those of the card's model" in text
    assert len(text.splitlines()) == 1


def test_its_options_are_explained(capsys):
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    text = capsys.readouterr().out
    for option in (
        "--host",
        "--port",
        "--neighbours",
        "--max-mb",
        "--max-s",
        "--timeou",
    ):
        assert option in text
