import json

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from aemjax.data.prepared import PreparedSet
from aemjax.data.teachers import open_teacher
from aemjax.models import create
from aemjax.train import embed
from aemjax.train.checkpoint import load
from aemjax.train.embed import embed_checkpoint
from aemjax.train.evaluate import Evaluator
from aemjax.train.sharding import data_mesh


@pytest.fixture(scope="module")
def embedded(pretrained, audioset, tmp_path_factory):
    """(folder, what was returned) of the evaluation clips."""
    out = tmp_path_factory.mktemp("embed") / "new" / "out"
    about = embed_checkpoint(
        str(pretrained), audioset, out, split="eval", logits=True, batch_size=8
    )
    return out, about


def test_every_clip_is_embedded_as_it_is_alone(embedded, pretrained, audioset):
    out, _ = embedded
    data = PreparedSet(audioset)
    ids = pq.read_table(out / "index.parquet")["id"].to_pylist()
    assert sorted(ids) == sorted(data.id[data.split == "eval"])
    embeddings = np.load(out / "embeddings.npy")
    logits = np.load(out / "logits.npy")
    assert (embeddings.dtype, embeddings.shape) == (np.float32, (18, 512))
    assert (logits.dtype, logits.shape) == (np.float16, (18, 12))
    weights, card, _ = load(str(pretrained))
    model = jax.jit(create(**card.model).apply)
    for place in (0, 9, 17):
        audio = data.read_audio(data.id.tolist().index(ids[place])) / 32768
        audio = ((audio - audio.mean()) / audio.std()).astype(np.float32)
        expected, aux = model(weights, audio[None])
        np.testing.assert_allclose(embeddings[place], aux["embedding"][0], atol=1e-5)
        np.testing.assert_allclose(logits[place], expected[0], rtol=2**-11, atol=1e-5)


def test_logits_are_rounded_and_make_a_teacher(embedded, pretrained, audioset):
    data = PreparedSet(audioset)
    teacher = open_teacher(embedded[0], data)
    assert teacher.coverage == pytest.approx(18 / 120)
    weights, card, _ = load(str(pretrained))
    evaluator = Evaluator(create(**card.model), data_mesh(), batch_size=8, threads=1)
    rows, logits = evaluator.logits(weights, data, np.flatnonzero(data.split == "eval"))
    found, has = teacher.probabilities(rows)
    assert has.all()
    np.testing.assert_allclose(found, jax.nn.sigmoid(logits), rtol=0, atol=1.2e-4)
    assert not np.array_equal(found, jax.nn.sigmoid(logits))
    _, has = teacher.probabilities(np.flatnonzero(data.split != "eval"))
    assert not has.any()


def test_rounding_moves_a_sigmoid_by_as_little_as_is_said():
    x = np.linspace(-30, 30, 1_000_001)
    rounded = x.astype(np.float16).astype(np.float64)
    moved = np.abs(1 / (1 + np.exp(-x)) - 1 / (1 + np.exp(-rounded))).max()
    assert 1.0e-4 < moved < 1.1e-4


def test_what_the_files_are_is_written_beside_them(embedded, pretrained, audioset):
    out, about = embedded
    assert about == json.loads((out / "about.json").read_text())
    _, card, step = load(str(pretrained))
    assert about["commit"]
    del about["commit"]
    assert about == {
        "checkpoint": str(pretrained),
        "step": step,
        "model": card.model,
        "labels": list(PreparedSet(audioset).label_names),
        "multi_label": True,
        "logits": True,
        "clips": 18,
        "split": "eval",
        "data": {
            "dataset": "audioset",
            "fingerprint": PreparedSet(audioset).fingerprint,
        },
    }
    assert len(list(out.iterdir())) == 4
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_clips_of_other_classes_are_embedded(pretrained, esc50, tmp_path):
    out = tmp_path / "out"
    about = embed_checkpoint(str(pretrained), esc50, out, batch_size=8)
    assert (about["clips"], about["split"], about["logits"]) == (100, "all", False)
    assert np.load(out / "embeddings.npy").shape == (100, 512)
    assert not (out / "logits.npy").exists()
    with pytest.raises(ValueError, match="holds embeddings without logits"):
        open_teacher(out, PreparedSet(esc50))


def test_nothing_is_overwritten(pretrained, audioset, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("")
    with pytest.raises(ValueError, match="out exists; remove it, or choose another"):
        embed_checkpoint(str(pretrained), audioset, out)
    (tmp_path / "new.incomplete").mkdir()
    (tmp_path / "new.incomplete" / "mine").write_text("")
    with pytest.raises(ValueError, match="new.incomplete exists: it is being written"):
        embed_checkpoint(str(pretrained), audioset, tmp_path / "new")
    assert len(list(tmp_path.rglob("mine"))) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_run_leaves_nothing(
    pretrained, audioset, tmp_path, monkeypatch, error
):
    def broken(*arguments, **options):
        yield next(outputs(*arguments, **options))
        partial = tmp_path / "out.incomplete"
        assert (partial / "logits.npy").exists() and not (tmp_path / "out").exists()
        with pytest.raises(ValueError, match="holds no teacher's logits"):
            open_teacher(partial, PreparedSet(audioset))
        raise error

    outputs = Evaluator.outputs
    monkeypatch.setattr(Evaluator, "outputs", broken)
    with pytest.raises(error):
        embed_checkpoint(
            str(pretrained), audioset, tmp_path / "out", logits=True, batch_size=8
        )
    assert not list(tmp_path.iterdir())


def test_outputs_that_are_not_numbers_are_refused(
    pretrained, audioset, tmp_path, monkeypatch
):
    weights, card, step = load(str(pretrained))
    huge = jax.tree.map(lambda x: x * 1e6, weights)
    monkeypatch.setattr(embed, "load", lambda spec: (huge, card, step))
    with pytest.raises(
        ValueError, match="outputs for clip '.*' are not finite; choose"
    ):
        embed_checkpoint(
            str(pretrained), audioset, tmp_path / "out", logits=True, batch_size=8
        )
    assert not list(tmp_path.iterdir())


def test_several_processes_and_buckets_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="memory://out is not a local folder"):
        embed_checkpoint("run", "set", "memory://out")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="embed runs in one process, not in 2"):
        embed_checkpoint("run", "set", tmp_path / "out")
