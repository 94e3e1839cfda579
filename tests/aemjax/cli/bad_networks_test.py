"""Damaged networks: each is answered with a line that says what it is."""

import io
import json
import os
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save as save_arrays

from aemjax.serve import release
from tests.aemjax.cli.conftest import MODEL, run


def with_weights(**changes):
    """Damage: other arrays by these names, or none."""

    def change(folder):
        variables, card, _ = release.read_network(folder)
        arrays = flatten_dict(variables, sep="/")
        for name, value in changes.items():
            name = name.replace("__", "/")
            old = arrays.pop(name)
            if value is not None:
                arrays[name] = value(old)
        metadata = {release.MODEL: json.dumps(card.model, sort_keys=True)}
        (folder / release.WEIGHTS).write_bytes(save_arrays(arrays, metadata))

    return change


def with_card(**changes):
    """Damage: other values in the card."""

    def change(folder):
        path = folder / release.CARD
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def with_bytes(name, data):
    return lambda folder: (folder / name).write_bytes(data)


DAMAGES = {
    "no release": (shutil.rmtree, "holds neither card.json nor checkpoints/; expected"),
    "weights of text": (
        with_bytes(release.WEIGHTS, b"no weights"),
        r"model\.safetensors cannot be read: .*; copy it again",
    ),
    "no weights": (with_bytes(release.WEIGHTS, b""), "safetensors cannot be read: "),
    "header past the end": (
        with_bytes(release.WEIGHTS, b"\xff" * 8 + b"{}"),
        "cannot be read: .*; copy",
    ),
    "NaN": (
        with_weights(params__head__dense__bias=lambda x: x * np.nan),
        "holds values that are not finite, in params/head/dense/bias",
    ),
    "an array is missing": (
        with_weights(params__backbone__conv3__kernel=None),
        "the weights are not those of the card's model: .*conv3.*; copy or make",
    ),
    "an array of another shape": (
        with_weights(params__head__dense__bias=lambda x: x[1:]),
        "the weights are not those of the card's model: .*shape.*; copy or make",
    ),
    "statistics of another shape": (
        with_weights(batch_stats__backbone__bn3__mean=lambda x: x[1:]),
        "the weights are not those of the card's model: .*shape.*; copy or make",
    ),
    "a card of bytes": (
        with_bytes(release.CARD, bytes(range(256))),
        r"card\.json is no card of ours: UnicodeDecodeError.*; copy it again",
    ),
    "a deep card": (with_bytes(release.CARD, b"[" * 100_000), "no card .* Recursion"),
    "a rate of text": (
        with_card(sample_rate="16000"),
        "sample_rate is '16000', expected int",
    ),
    "no rate": (with_card(sample_rate=0), "sample_rate is 0, expected 1 or more"),
    "numbers for labels": (
        with_card(labels=[1, 2, 3]),
        r"labels hold \[1, 2, 3\], exp",
    ),
    "labels of one text": (with_card(labels="abc"), "labels is 'abc', expected list"),
    "several or one": (
        with_card(multi_label="no"),
        "multi_label is 'no', expected bool",
    ),
    "another network's": (
        with_card(model=MODEL | {"width": 0.5}),
        r"model\.safetensors is of another network than card\.json",
    ),
    "a model of text": (with_card(model="aemnet"), "no card of ours: TypeError"),
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("verb", ["classify", "embed", "stream"])
def test_damaged_networks(network, clip, capsys, monkeypatch, verb, kind):
    damage, message = DAMAGES[kind]
    damage(Path(shutil.copytree(network, "copy")))
    pcm = io.BytesIO(bytes(64_000))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=pcm))
    words = {"classify": [clip], "embed": [clip, "-o", "out.npz"], "stream": []}[verb]
    out, lines, code = run(capsys, verb, *words, "--model=copy")
    assert (out, code) == ("", 1)
    assert len(lines) == 1 and re.search(f"^error: .*{message}", lines[0]), lines
    assert not os.path.exists("out.npz") and not os.path.exists("out.npz.lock")
