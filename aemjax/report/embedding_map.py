"""Clips of a fold in a plane, by what a model makes of them."""

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from aemjax.data.pipeline import eval_batches
from aemjax.data.prepared import PreparedSet
from aemjax.models import create
from aemjax.train.card import Card
from aemjax.train.evaluate import ON_DEVICE
from aemjax.train.sharding import data_mesh, global_batch, shardings
from aemjax.train.step import jit_eval_step

MAX_CLIPS = 500  # more take minutes without an accelerator, and show a cloud
MIN_CLIPS = 30  # of t-SNE, which needs neighbours
PERPLEXITY = 30
SEED = 0


def drawn_clips(rows: np.ndarray) -> np.ndarray:
    """All rows, or 500 of them drawn by a fixed seed."""
    if len(rows) <= MAX_CLIPS:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, MAX_CLIPS, replace=False))


def embed(
    weights: Mapping, card: Card, data: PreparedSet, rows: np.ndarray
) -> tuple[np.ndarray, Float[np.ndarray, "n d"]]:
    """(rows in another order, their embeddings): each clip read whole.

    Raises:
      ValueError: if a record is damaged, or the model is not at hand.
    """
    mesh = data_mesh()
    replicated, split = shardings(mesh)
    weights = jax.device_put(weights, replicated)
    step = jit_eval_step(mesh, model=create(**card.model))
    found, embeddings = [], []
    for batch in eval_batches(data, rows, batch_size=mesh.size * -(-32 // mesh.size)):
        on_device = global_batch({key: batch[key] for key in ON_DEVICE}, split)
        outputs = step(weights["params"], weights["batch_stats"], on_device)
        keep = batch["mask"] > 0
        found.append(batch["row"][keep])
        embeddings.append(np.asarray(outputs["embedding"])[keep])
    return np.concatenate(found), np.concatenate(embeddings)


def project(
    embeddings: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, "n 2"], str]:
    """(points, what they are): t-SNE (van der Maaten & Hinton, JMLR 2008), or PCA.

    PCA is for fewer than 30 clips. The same embeddings give the same points.

    Raises:
      ValueError: of fewer than two clips.
    """
    if len(embeddings) < 2:
        raise ValueError(f"{len(embeddings)} clips have no map; it needs two")
    if len(embeddings) < MIN_CLIPS:
        return PCA(2).fit_transform(embeddings), "PCA"
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED)
    return tsne.fit_transform(embeddings), "t-SNE"
