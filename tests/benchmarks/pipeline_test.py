import dataclasses
import importlib.util
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.audio.augment import standardize
from aemjax.data.pipeline import CropBatches, read_crop
from benchmarks import __main__ as main
from benchmarks import parity, pipeline

SIZES = pipeline.Sizes(
    clips=30,
    clip_s=0.5,
    crops_s=(0.2,),
    batch=4,
    seconds=0.01,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, its two sets), of clips that are shorter than 0.5 s or as long."""
    folder = tmp_path_factory.mktemp("pipeline")
    return folder, pipeline.make_sets(folder, clips=30, seconds=0.5)


def standardized(*batch):
    return standardize(*map(jnp.asarray, batch))


@pytest.fixture(autouse=True)
def one_reader(monkeypatch):
    monkeypatch.setattr(pipeline, "readers", lambda: [1])


@pytest.mark.torch
@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="no PyTorch")
def test_every_side_is_compared(made, tmp_path, capsys):
    for data in made[1]:
        (row,) = pipeline.compare(data, tmp_path, SIZES, repeats=2)
        assert (row["storage"], row["crop_s"]) == (data.manifest["storage"], 0.2)
        low, high = sorted(row["each / DataLoader"])
        assert 0 < low <= row["/ DataLoader"] <= high
        assert row["/ bare reads"] > 0
    assert capsys.readouterr().out.count("/ DataLoader = ") == 2


@pytest.mark.parametrize("crop_samples", [3_200, 9_000])
def test_both_sides_have_the_same_crops(made, tmp_path, monkeypatch, crop_samples):
    monkeypatch.setattr(random, "randrange", lambda stop: stop // 2)
    for data in made[1]:
        rows, storage = np.arange(len(data)), data.manifest["storage"]
        files = pipeline.write_files(data, rows, tmp_path / storage)
        about = data.n_samples, data.mean, data.std
        theirs = pipeline.Crops(storage, files, *about, crop_samples)
        for row in rows.tolist():
            pcm = np.empty(crop_samples, np.int16)
            read_crop(data, row, 1 << 31, pcm)
            mine = standardized(pcm[None], data.mean[[row]], data.std[[row]])[0]
            np.testing.assert_allclose(theirs[row], mine, atol=1e-5)


def test_ours_are_on_the_device_and_standardised(made):
    data = made[1][0]
    rows = np.arange(len(data))
    crops = CropBatches(data, rows, 4, 3_200, seed=0)
    batches = pipeline.ours(data, rows, 3_200, 4, 1)
    for step in range(2):
        expected = crops.read(step)
        expected = standardized(*(expected[key] for key in ("audio", "mean", "std")))
        found = next(batches)
        assert isinstance(found, jax.Array)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    batches.close()


def test_bare_reads_are_of_the_shards_that_are_read(made):
    _, (data, _) = made
    paths, rows = pipeline.first_shards(data, 1)
    assert len(paths) == 1 and paths[0].is_file()
    assert rows.tolist() == list(range(data.manifest["splits"][_first(data)]["clips"]))
    paths, rows = pipeline.first_shards(data, len(data))
    assert rows.tolist() == list(range(len(data)))
    assert set(paths) == set(data.path.glob("*.array_record-*"))
    batches = pipeline.bare(paths, 100, 4, 2)
    assert [next(batches) for _ in range(9)] == list(range(9))
    batches.close()


def test_a_shard_that_is_shorter_than_a_read(tmp_path):
    path = tmp_path / "shard"
    path.write_bytes(bytes(10))
    batches = pipeline.bare([path], 11, 4, 1)
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    batches.close()


def test_a_set_that_is_smaller_than_a_batch(made, tmp_path):
    data = made[1][0]
    sizes = dataclasses.replace(SIZES, batch=len(data) + 1)
    message = (
        f"has {len(data)} clips, expected a batch of {sizes.batch} or more; choose"
    )
    with pytest.raises(ValueError, match=message):
        pipeline.compare(data, tmp_path, sizes, repeats=1)


def _first(data):
    return next(iter(data.manifest["splits"]))


def test_a_row_by_hand():
    row = pipeline.summarize([(8, 4, 16), (6, 6, 60), (9, 3, 90)])
    assert row == {
        "clips/s": 8,
        "DataLoader, clips/s": 4,
        "bare reads, clips/s": 60,
        "/ DataLoader": 2.0,
        "/ bare reads": 0.1,
        "each / DataLoader": [2.0, 1.0, 3.0],
    }


def test_without_pytorch(monkeypatch):
    monkeypatch.setattr(parity, "has_pytorch", lambda: False)
    with pytest.raises(ImportError, match="^PyTorch, .* not installed; `pip install t"):
        pipeline.run(repeats=1)


def test_its_options(monkeypatch, capsys):
    calls = []
    monkeypatch.setitem(
        main.BENCHMARKS, "pipeline", lambda **how: calls.append(how) or []
    )
    main.main(["pipeline", "--smoke", "--data", "a"])
    assert calls == [{"repeats": 5, "smoke": True, "data": "a"}]
    with pytest.raises(SystemExit):
        main.main(["pipeline", "--split", "a"])
    assert "are for parity alone" in capsys.readouterr().err
