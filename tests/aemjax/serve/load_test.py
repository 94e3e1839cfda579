"""What `aemjax.load` reads, and what it imports for it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import aemjax
from tests.aemjax.audio.files import noise
from tests.jobs import ROOT

TRAINING = {
    "optax",
    "orbax",
    "grain",
    "tensorflow_datasets",
    "sklearn",
    "scipy",
    "matplotlib",
    "pyarrow",
    "ml_collections",
}


def test_a_run_and_its_release_are_one_network(pretrained, released):
    audio = noise(8_000)
    release, run = aemjax.load(released), aemjax.load(str(pretrained))
    np.testing.assert_array_equal(release.embed(audio), run.embed(audio))
    assert release.labels == run.labels and release.card == run.card
    last = aemjax.load(f"{pretrained}@last", batch_size=4)
    assert last.batch_size == 4 and last.card == run.card
    one = aemjax.Classifier(release.card, release.variables)
    np.testing.assert_array_equal(one.embed(audio), release.embed(audio))


def test_what_is_neither_is_refused(tmp_path):
    message = (
        "neither card.json nor checkpoints/; expected a folder of `aemjax release`"
    )
    for path in ("nowhere", tmp_path, f"{tmp_path}@last"):
        with pytest.raises(ValueError, match=message):
            aemjax.load(path)
    (tmp_path / "fold1_seed0/checkpoints").mkdir(parents=True)
    with pytest.raises(ValueError, match=f"did you mean {tmp_path}/fold1_seed0\\?$"):
        aemjax.load(tmp_path)
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        aemjax.lod  # noqa: B018


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def without_card(folder):
    (folder / "card.json").unlink()


def changed(**values):
    def change(folder):
        path = folder / "card.json"
        about = json.loads(path.read_text())
        about |= {key: value(about[key]) for key, value in values.items()}
        path.write_text(json.dumps({key: x for key, x in about.items() if x}))

    return change


def infinite(folder):
    from safetensors.numpy import save

    from aemjax.serve import release

    variables, card, step = release.read_network(folder)
    flat = {"/".join(path): x for path, x in flatten_dict(variables).items()}
    flat["params/head/dense/bias"] = np.full(12, np.inf, np.float32)
    metadata = {release.MODEL: json.dumps(card.model, sort_keys=True)}
    (folder / release.WEIGHTS).write_bytes(save(flat, metadata))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "model.safetensors cannot be read: .*; copy it again"),
        (
            without_weights,
            "holds no model.safetensors; a release has model.safetensors",
        ),
        (without_card, "holds no card.json; a release has"),
        (
            lambda folder: (folder / "card.json").write_text("{"),
            "is no card of ours: J",
        ),
        (
            lambda folder: (folder / "card.json").write_text("[]"),
            "is no card of ours: T",
        ),
        (changed(labels=lambda _: None), "is no card of ours: KeyError.'labels'"),
        (changed(labels=lambda x: x[1:]), "has 11 labels, its model 12 classes"),
        (
            changed(model=lambda x: x | {"width": 0.5}),
            "model.safetensors is of another network than card.json: .*0.5",
        ),
        (infinite, "values that are not finite, in params/head/dense/bias"),
    ],
)
def test_damage_is_noticed(released, tmp_path, damage, message):
    folder = tmp_path / "copy"
    shutil.copytree(released, folder)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        aemjax.load(folder)


def test_loading_a_release_imports_no_training_stack(released):
    code = f"""
import sys, time
start = time.process_time()  # of this process, however many others run
import aemjax
print(time.process_time() - start)
print(sorted({TRAINING | {"jax", "flax", "numpy"}!r} & set(sys.modules)))
aemjax.load({str(released)!r})
print(sorted({TRAINING!r} & set(sys.modules)))
"""
    seconds, before, after = run(code)
    assert float(seconds) < 0.2
    assert (before, after) == ("[]", "[]")


@pytest.mark.slow
def test_loading_takes_little_longer_than_importing_jax_and_flax(released):
    frameworks = "import jax, flax.linen"
    ours = f"import aemjax; aemjax.load({str(released)!r})"
    took = {frameworks: [], ours: []}
    for _ in range(5):
        for code, times in took.items():
            timed = f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
            times.append(float(*run(timed)))
    assert min(took[ours]) <= 1.2 * min(took[frameworks])


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()
