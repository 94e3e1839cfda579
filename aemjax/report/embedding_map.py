"""Clips of a fold in a plane, by what a model makes of them."""

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from aemjax.data.prepared import PreparedSet
from aemjax.models import create
from aemjax.train.card import Card
from aemjax.train.evaluate import Evaluator
from aemjax.train.sharding import data_mesh, shardings

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
    weights = jax.device_put(weights, shardings(mesh)[0])
    batch_size = mesh.size * -(-32 // mesh.size)
    evaluator = Evaluator(create(**card.model), mesh, batch_size=batch_size)
    return evaluator.all_outputs(weights, data, rows, "embedding")


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
