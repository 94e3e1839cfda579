"""Embeddings of audio files, any number of any length, by a run that may be killed::

    OUT.npz             "paths" "n", "embeddings" float32 "n 512"; and of logits, "logits"
                        float32 "n k", "labels" "k"
    OUT.parquet         instead: a row a file, "path", "embedding", "logits"; the labels are
                        JSON in the schema's metadata
    NAME.errors.csv     "file", "reason" of those that could not be used, if there are any
    NAME.parts/         what is done, until all is; and NAME.lock, while a run is at it

NAME is the result's, with its ending. The result is there when it is whole.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from aemjax.data.clips import AUDIO_SUFFIXES
from aemjax.data.folders import files_below, locked
from aemjax.serve.classifier import LONG_S, Classifier
from aemjax.serve.embedding_parts import Parts
from aemjax.serve.embedding_table import WRITERS, check_out, errors_of, write_errors
from aemjax.serve.long_clips import NOT_FINITE, run_whole
from aemjax.serve.read_ahead import Sound, read_ahead, stamp_of

# Files of a pile: clips of one length are there to fill batches with, parts are few.
PILE_FILES, PILE_BATCHES = 128, 4


def embed_files(
    classifier: Classifier,
    inputs: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    logits: bool = False,
    threads: int = 4,
    progress: Callable[[int, int, int], None] = lambda done, total, failed: None,
) -> dict[str, Any]:
    """Writes each file's embedding, which is that of the file alone; see above for where.

    Called again after it was stopped, it goes on: a file counts as done if its size and
    time of change are still the same. Files that could not be used are tried again.

    Args:
      inputs: files, and folders: of these, every audio file below.
      out: file to make, .npz or .parquet.
      logits: write these too.
      threads: that read files.
      progress: called with how many files are done, how many there are, and how many of
        those done could not be used.

    Returns:
      "embedded" and "resumed", numbers of files, the latter of an earlier call; "failed",
      {file: reason}; "out" and "errors", the files written, None where there is none.

    Raises:
      ValueError: if `out` exists, is of an unknown kind or needs what is not installed;
        there are no files; another process is writing `out`; or an unfinished run for
        it had another network.
    """
    check_out(out := Path(out))
    files = find_files(inputs)
    with locked(out):
        check_out(out)  # another run may have finished meanwhile
        parts = Parts(out, {"network": _digest(classifier), "logits": logits})
        done = parts.done()
        left = [file for file in files if done.get(file) != stamp_of(file)]
        resumed = len(files) - len(left)
        keys = ("embedding", "logits") if logits else ("embedding",)
        pile_size = max(PILE_FILES, PILE_BATCHES * classifier.batch_size)
        sounds = read_ahead(
            left, sample_rate=classifier.sample_rate, threads=threads, ahead=pile_size
        )
        failed: dict[str, str] = {}
        tried = resumed
        progress(tried, len(files), 0)
        for pile in _piles(sounds, pile_size, LONG_S * classifier.sample_rate):
            failed |= {one.path: one.reason for one in pile if one.audio is None}
            usable = [one for one in pile if one.audio is not None]
            if usable:
                found = run_whole(classifier, [one.audio for one in usable])
                values = {key: found[key] for key in keys}
                columns = np.concatenate(list(values.values()), axis=1)
                sound = np.isfinite(columns).all(axis=1)
                parts.add(*_rows(usable, values, sound))
                failed |= {usable[i].path: NOT_FINITE for i in np.flatnonzero(~sound)}
            tried += len(pile)
            progress(tried, len(files), len(failed))
        about = _finish(parts, files, failed, out, classifier.labels)
    return about | {"resumed": resumed}


def find_files(inputs: Iterable[str | os.PathLike]) -> list[str]:
    """Files, and the audio files below folders, sorted there; each one once.

    Raises:
      ValueError: if there are none.
      OSError: if a folder cannot be listed.
    """
    found: dict[str, None] = {}
    for given in map(os.fspath, inputs):
        if os.path.isdir(given):
            below = files_below(Path(given))
            found |= dict.fromkeys(
                file for file in below if file.lower().endswith(AUDIO_SUFFIXES)
            )
        else:
            found[given] = None
    if not found:
        raise ValueError(
            f"there is no audio file; those in folders end with {', '.join(AUDIO_SUFFIXES)}"
        )
    return list(found)


def _piles(
    sounds: Iterable[Sound], most: int, long_samples: int
) -> Iterator[list[Sound]]:
    """As many files as are to be embedded together, fewer if they are long."""
    pile: list[Sound] = []
    samples = 0
    for sound in sounds:
        pile.append(sound)
        samples += 0 if sound.audio is None else len(sound.audio)
        if len(pile) >= most or samples >= most * long_samples:
            yield pile
            pile, samples = [], 0
    if pile:
        yield pile


def _rows(sounds: Sequence[Sound], values: dict, sound: np.ndarray):
    """(paths, stamps, values) of those that are sound."""
    own = [sounds[i] for i in np.flatnonzero(sound)]
    rows = {key: x[sound] for key, x in values.items()}
    return [one.path for one in own], [one.stamp for one in own], rows


def _finish(
    parts: Parts,
    files: Sequence[str],
    failed: dict[str, str],
    out: Path,
    labels: Sequence[str],
) -> dict[str, Any]:
    embedded = [file for file in files if file not in failed]
    errors = errors_of(out)
    errors.unlink(missing_ok=True)
    if failed:
        with parts.unfinished(errors) as path:
            write_errors(path, failed.items())
    if embedded:
        with parts.unfinished(out) as path:
            WRITERS[out.suffix](path, embedded, parts.gather(embedded), labels)
    parts.remove()
    return {
        "embedded": len(embedded),
        "failed": failed,
        "out": str(out) if embedded else None,
        "errors": str(errors) if failed else None,
    }


def _digest(classifier: Classifier) -> str:
    """Of all that an embedding depends on."""
    card = classifier.card
    about = [card.model, card.sample_rate, list(card.labels)]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, array in sorted(flatten_dict(classifier.variables, sep="/").items()):
        digest.update(name.encode())
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()
