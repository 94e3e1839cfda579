"""Embeddings to compare with: read, computed, or refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aemjax.audio.read import read_audio
from aemjax.serve.embed_files import embed_files
from aemjax.serve.page.neighbours import Neighbours, load_neighbours
from tests.aemjax.audio.files import noise, save
from tests.aemjax.serve.page.networks import tiny_classifier


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


@pytest.fixture
def folder(tmp_path):
    """Three files, one of them below, and one that is no audio."""
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.wav", "b.flac", "sub/c.wav")):
        save(folder, noise(4_000, level=0.3, seed=i), name=name)
    (folder / "bad.wav").write_text("no audio")
    return folder


def test_the_nearest_come_first():
    embeddings = np.array([[1, 0], [0, 2], [3, 3], [0, 0]], np.float32)
    neighbours = Neighbours(["/x/y/a", "/x/b", "/x/c", "/x/y/0"], embeddings)
    assert len(neighbours) == 4
    found = neighbours.nearest(np.array([5, 0], np.float32), 3)
    assert [path for path, _ in found] == ["y/a", "c", "b"]
    np.testing.assert_allclose([x for _, x in found], [1, 0.5**0.5, 0], atol=1e-6)
    assert len(neighbours.nearest(np.array([0, 1], np.float32), 9)) == 4
    assert Neighbours(["one.wav"], embeddings[:1]).paths == ["one.wav"]
    assert Neighbours(["no\udcfftext"], embeddings[:1]).paths == ["no\ufffdtext"]


def test_a_folder_is_embedded(classifier, folder):
    left_out = {}
    neighbours = load_neighbours(folder, classifier, leave_out=left_out.__setitem__)
    assert neighbours.paths == ["a.wav", "b.flac", "sub/c.wav"]
    embedding = classifier.embed(read_audio(folder / "b.flac"))
    (path, cosine), _ = neighbours.nearest(embedding, 2)
    assert path == "b.flac" and cosine == pytest.approx(1, abs=1e-5)
    ((path, reason),) = left_out.items()
    assert path == str(folder / "bad.wav") and reason.startswith("cannot be read")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_what_embed_wrote_is_read(classifier, folder, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    embed_files(classifier, [folder], out)
    neighbours = load_neighbours(out, classifier)
    assert neighbours.paths == ["a.wav", "b.flac", "sub/c.wav"]
    embedding = classifier.embed(read_audio(folder / "sub/c.wav"))
    assert neighbours.nearest(embedding, 1)[0][0] == "sub/c.wav"
    with pytest.raises(ValueError, match=r"another embedding of .*a\.wav than this"):
        load_neighbours(out, tiny_classifier(seed=1))
    # One that cannot be read now says nothing, but the next one does.
    (folder / "a.wav").write_text("no audio")
    with pytest.raises(ValueError, match=r"another embedding of .*b\.flac than this"):
        load_neighbours(out, tiny_classifier(seed=1))
    assert len(load_neighbours(out, classifier)) == 3
    for path in folder.rglob("*.*"):
        path.unlink()  # without the files it cannot be told
    assert len(load_neighbours(out, tiny_classifier(seed=1))) == 3


def test_what_is_none_is_refused(classifier, folder, tmp_path):
    def npz(name="out.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    def refused(source, message):
        with pytest.raises(ValueError, match=message):
            load_neighbours(source, classifier)

    paths, embeddings = np.array(["a", "b"]), np.ones((2, 512), np.float32)
    refused(tmp_path / "none", "none is no folder and does not end with .npz or .parq")
    refused(tmp_path / "none.npz", "cannot be read .*No such file.*`aemjax embed`")
    refused(npz(a=paths), "cannot be read .*paths")
    refused(
        npz(paths=paths, embeddings=embeddings[:, :64]),
        r"shape \(2, 64\), the network's are of 512 numbers",
    )
    refused(
        npz(paths=paths[:0], embeddings=embeddings[:0]), "those of one file or more"
    )
    refused(npz(paths=paths[:1], embeddings=embeddings), "damaged; write it again")
    refused(npz(paths=paths, embeddings=embeddings * np.nan), "damaged; write it again")
    refused(npz(paths=paths, embeddings=np.full((2, 512), "x")), "damaged; write it")
    for others in (np.ones(2), np.ones(())):
        refused(npz(paths=others, embeddings=embeddings), "damaged; write it again")
    (tmp_path / "empty.npz").write_bytes(b"")
    refused(tmp_path / "empty.npz", "empty.npz cannot be read .*`aemjax embed`")
    np.save(tmp_path / "array.npy", embeddings)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    refused(tmp_path / "array.npz", "array.npz cannot be read .*`aemjax embed`")
    for name, columns, message in (
        ("flat", {"path": ["a", "b"], "embedding": [1.0, 2.0]}, "cannot be read"),
        ("null", {"path": ["a", None], "embedding": embeddings.tolist()}, "damaged"),
    ):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        refused(tmp_path / f"{name}.parquet", message)
    whole = npz(paths=paths, embeddings=embeddings).read_bytes()
    for name in ("cut.npz", "cut.parquet"):
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        refused(tmp_path / name, "cannot be read")
    for path in folder.rglob("*.wav"):
        path.write_text("no audio")
    (folder / "b.flac").unlink()
    refused(folder, "mine: not one of its audio files can be read")
