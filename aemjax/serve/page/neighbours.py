"""Files of one's own, and which of them the network finds most similar to a clip."""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tqdm
from jaxtyping import Float, Float32

from aemjax.audio.read import AudioError, read_audio
from aemjax.serve.classifier import Classifier
from aemjax.serve.embed_files import embed_files
from aemjax.serve.long_clips import run_whole

# Of one file's embeddings, stored and computed again, by one network.
SAME_COSINE = 0.999
# What NumPy and Arrow raise for damaged files, depending on where the damage is.
DAMAGE = (
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class Neighbours:
    """Embeddings of files, to be searched by the cosine of the angle between them.

    Attributes:
      paths: below the folder that they share, whose own place is nobody's business.
    """

    def __init__(self, paths: Sequence[str], embeddings: Float[np.ndarray, "n d"]):
        absolute = [os.path.abspath(path) for path in paths]
        shared = os.path.commonpath([os.path.dirname(path) for path in absolute])
        own = (os.path.relpath(path, shared) for path in absolute)
        # Names need not be text, but answers are.
        self.paths = [os.fsencode(path).decode(errors="replace") for path in own]
        self._directions = _directions(embeddings)

    def __len__(self) -> int:
        return len(self.paths)

    def nearest(
        self, embedding: Float[np.ndarray, "d"], n: int
    ) -> list[tuple[str, float]]:
        """(path, cosine) of the `n` most similar files, the most similar one first."""
        cosines = self._directions @ _directions(embedding)
        order = np.argsort(-cosines, kind="stable")[:n]
        return [(self.paths[i], float(cosines[i])) for i in order]


def load_neighbours(
    source: str | os.PathLike,
    classifier: Classifier,
    *,
    leave_out: Callable[[str, str], None] = lambda path, reason: None,
) -> Neighbours:
    """Reads what `aemjax embed` wrote, .npz or .parquet; or embeds a folder of audio.

    Args:
      leave_out: called with each file of a folder that cannot be used, and why.

    Raises:
      ValueError: if there is neither, the embeddings are not this network's, or it does
        not run.
    """
    source = Path(source)
    size = len(classifier.embed(np.zeros(classifier.sample_rate, np.float32)))
    if source.is_dir():
        return Neighbours(*_embedded(source, classifier, leave_out))
    if source.suffix not in READERS:
        raise ValueError(
            f"{source} is no folder and does not end with {' or '.join(READERS)}; expected "
            "a folder of audio, or a file of `aemjax embed`"
        )
    try:
        paths, embeddings = READERS[source.suffix](source)
    except DAMAGE as error:
        raise ValueError(
            f"{source} cannot be read ({error}), expected a file of `aemjax embed`"
        ) from error
    _check(source, paths, embeddings, size, classifier)
    return Neighbours(paths, embeddings)


def _embedded(folder: Path, classifier: Classifier, leave_out: Callable):
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "embeddings.npz"
        with tqdm.tqdm(unit="file", desc="embed") as bar:

            def progress(done: int, total: int, failed: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            about = embed_files(classifier, [folder], out, progress=progress)
        for path, reason in about["failed"].items():
            leave_out(path, reason)
        if not about["embedded"]:
            raise ValueError(f"{folder}: not one of its audio files can be read")
        return _read_npz(out)


def _read_npz(path: Path):
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no zip of arrays")
        found = np.load(file)
        return found["paths"].ravel().tolist(), found["embeddings"]


def _read_parquet(path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["path", "embedding"])
    kind = table.schema.field("embedding").type
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise ValueError(f"its embeddings are of type {kind}, not lists")
    values = table["embedding"].combine_chunks().flatten().to_numpy()
    return table["path"].to_pylist(), values.reshape(len(table), -1)


# By the ending of the name.
READERS = {".npz": _read_npz, ".parquet": _read_parquet}


def _check(source: Path, paths, embeddings, size: int, classifier: Classifier) -> None:
    if embeddings.ndim != 2 or embeddings.shape[1] != size or not len(paths):
        raise ValueError(
            f"{source} holds embeddings of shape {embeddings.shape}, the network's are of "
            f"{size} numbers; expected those of one file or more"
        )
    if (
        len(paths) != len(embeddings)
        or not all(isinstance(path, str) for path in paths)
        or embeddings.dtype.kind != "f"
        or not np.isfinite(embeddings).all()
    ):
        raise ValueError(f"{source} is damaged; write it again with `aemjax embed`")
    # Files may have been moved since; of the first that can be read, the network is tried.
    for path, stored in zip(paths, embeddings, strict=True):
        if not os.path.isfile(path):
            continue
        try:
            clip = read_audio(path, sample_rate=classifier.sample_rate)
        except AudioError:
            continue
        own = run_whole(classifier, [clip])["embedding"][0]
        cosine = float(_directions(own) @ _directions(stored))
        if not cosine >= SAME_COSINE:
            raise ValueError(
                f"{source} has another embedding of {path} than this network makes "
                f"(their cosine is {cosine:.3f}): another network's, or the file was "
                "changed; write it again with `aemjax embed`"
            )
        return


def _directions(
    embeddings: Float[np.ndarray, "*n d"],
) -> Float32[np.ndarray, "*n d"]:
    """Scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return (embeddings / np.where(lengths > 0, lengths, 1)).astype(np.float32)
