"""A checkpoint's embeddings and logits of a prepared set's clips, as files.

    OUT/embeddings.npy  float32 "n 512"
    OUT/logits.npy      float16 "n k", where asked for
    OUT/index.parquet   "id" of each row
    OUT/about.json      the checkpoint, and what its logits are about

Logits are rounded to 11 significant bits, by which a sigmoid moves by 1.1e-4 at most.
`aemjax.data.teachers` reads them as a teacher's.
"""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tqdm
from jaxtyping import Float32, Shaped

from aemjax.data.folders import AnyPath, as_path, is_remote
from aemjax.data.logit_files import ABOUT, INDEX, LOGITS
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import by_split
from aemjax.models import create
from aemjax.train.checkpoint import load
from aemjax.train.evaluate import Evaluator
from aemjax.train.sharding import check_batch_size, data_mesh, shardings
from aemjax.train.workdir import git_commit

EMBEDDINGS = "embeddings.npy"


def embed_checkpoint(
    spec: str,
    path: str | Path,
    out: str | AnyPath,
    *,
    split: str | None = None,
    logits: bool = False,
    batch_size: int = 32,
) -> dict[str, Any]:
    """Writes a checkpoint's embeddings of a prepared set, each clip scored whole.

    The work lies in `OUT.incomplete` until it is whole.

    Args:
      spec: of the checkpoint, as `checkpoint.load` takes it.
      path: of the prepared set; its labels may be others than the checkpoint's.
      out: folder to make.
      split: as `splits.by_split` takes it; None: every clip.
      logits: write these too.

    Returns:
      What about.json says.

    Raises:
      ValueError: if checkpoint and set do not exist, `out` does, a clip's outputs are
        not finite, or there are several processes.
    """
    if jax.process_count() > 1:
        raise ValueError(
            f"embed runs in one process, not in {jax.process_count()}; start it on one "
            "host, with all its devices"
        )
    if is_remote(out := as_path(out)):
        raise ValueError(f"{out} is not a local folder; write there, then copy it")
    partial = out.with_name(out.name + ".incomplete")
    if out.exists():
        raise ValueError(f"{out} exists; remove it, or choose another --out")
    if partial.exists():
        raise ValueError(
            f"{partial} exists: it is being written now, or what did so was killed; "
            "remove it, or choose another --out"
        )
    weights, card, step = load(spec)
    data = PreparedSet(path)
    rows = np.arange(len(data)) if split is None else by_split(data, split)
    mesh = data_mesh()
    check_batch_size(batch_size, mesh)
    about = {
        "checkpoint": spec,
        "step": step,
        "model": card.model,
        "labels": card.labels,
        "multi_label": card.multi_label,
        "logits": logits,
        "clips": len(rows),
        "split": split or "all",
        "data": {
            "dataset": data.manifest["dataset"],
            "fingerprint": data.fingerprint,
        },
        "commit": git_commit(),
    }
    evaluator = Evaluator(create(**card.model), mesh, batch_size=batch_size)
    weights = jax.device_put(weights, shardings(mesh)[0])
    partial.mkdir(parents=True)
    try:
        arrays = {"logits": (LOGITS, np.float16), "embedding": (EMBEDDINGS, np.float32)}
        with contextlib.ExitStack() as stack:
            files = {
                key: stack.enter_context(_ArrayFile(partial / name, dtype, len(rows)))
                for key, (name, dtype) in arrays.items()
                if logits or key != "logits"
            }
            ids = _write(files, evaluator, weights, data, rows)
        pq.write_table(pa.table({"id": ids}), partial / INDEX)
        (partial / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        os.rename(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return about


class _ArrayFile:
    """A .npy file that is written rows after rows.

    Were it memory-mapped, a full disk would end the process without a word.
    """

    def __init__(self, path: Path, dtype: type, rows: int):
        self._file = path.open("wb")
        self._dtype = np.dtype(dtype)
        self._rows = rows

    def write(
        self, values: Float32[np.ndarray, "n d"], ids: Shaped[np.ndarray, "n"]
    ) -> None:
        """Appends rows, rounded; `ids` are for messages."""
        with np.errstate(over="ignore"):
            rounded = values.astype(self._dtype)
        if not (sound := np.isfinite(rounded).all(axis=1)).all():
            raise ValueError(
                f"the checkpoint's outputs for clip {str(ids[~sound][0])!r} are not "
                "finite; choose another step of it"
            )
        if not self._file.tell():
            header = {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._rows, values.shape[1]),
            }
            np.lib.format.write_array_header_1_0(self._file, header)
        self._file.write(rounded.tobytes())

    def __enter__(self) -> "_ArrayFile":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def _write(
    files: dict[str, _ArrayFile],
    evaluator: Evaluator,
    weights: dict,
    data: PreparedSet,
    rows: np.ndarray,
) -> np.ndarray:
    """Fills the files with the outputs of their names; returns the ids, in order."""
    written = []
    with tqdm.tqdm(total=len(rows), unit="clip", desc="embed") as bar:
        for own, outputs in evaluator.outputs(weights, data, rows, keys=tuple(files)):
            ids = data.id[own]
            for key, file in files.items():
                file.write(outputs[key], ids)
            written.append(ids)
            bar.update(len(ids))
    return np.concatenate(written)
