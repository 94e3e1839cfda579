"""Losses: (logits "b k", labels "b k") -> one value per example, in float32.

Labels are soft: multi-hot or one-hot, mixed by mixup. What else a loss takes are
options of the config, given by name.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from aemjax.models.layers import at_least_float32

Scores = Float[Array, "b k"]


def binary_cross_entropy(logits: Scores, labels: Scores) -> Float[Array, "b"]:
    """Sigmoid cross-entropy, averaged over classes (multi-label)."""
    logits = at_least_float32(logits)
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean(axis=-1)


def cross_entropy(logits: Scores, labels: Scores) -> Float[Array, "b"]:
    """Softmax cross-entropy (single-label)."""
    return optax.softmax_cross_entropy(at_least_float32(logits), labels)


def focal(
    logits: Scores,
    labels: Scores,
    *,
    gamma: int | float,
    alpha: Sequence[int | float],
) -> Float[Array, "b"]:
    """Focal loss on softmax (Lin et al., ICCV 2017; single-label).

    The sum over classes of label * -alpha (1 - p)^gamma log p. Published
    (Galindo-Meza 2021, chapter 6): for ICBHI's normal, crackles, wheezes and both,
    gamma 0.5 and alpha .4272, .7636, .8609, .9483.

    Args:
      gamma: from 0 (cross-entropy weighted by alpha); higher: easy clips count less.
      alpha: weight of each class, above 0.

    Raises:
      ValueError: on another gamma or alpha, or as many alphas as there are no classes.
    """
    if not 0 <= gamma < np.inf:
        raise ValueError(f"gamma is {gamma}, expected 0 or more")
    if not all(0 < weight < np.inf for weight in alpha):
        raise ValueError(f"alpha is {tuple(alpha)}, expected numbers above 0")
    if len(alpha) != logits.shape[-1]:
        raise ValueError(
            f"alpha has {len(alpha)} numbers, the model {logits.shape[-1]} classes; "
            "give one for each"
        )
    log_p = jax.nn.log_softmax(at_least_float32(logits))
    # At p = 1, (1 - p)^gamma is infinitely steep where gamma < 1; below epsilon, 1 - p
    # is rounding anyway.
    rest = jnp.maximum(-jnp.expm1(log_p), jnp.finfo(log_p.dtype).eps)
    weights = jnp.asarray(alpha, log_p.dtype)[None]  # 1 k
    return -(labels * weights * rest**gamma * log_p).sum(axis=-1)


def alpha_from_shares(labels: Float[np.ndarray, "n k"]) -> tuple[float, ...]:
    """The focal loss's alpha of each class: 1 - its share of the clips.

    As Galindo-Meza 2021, chapters 6 and 7, who takes the shares of the validation split.

    Args:
      labels: one-hot.
    """
    return tuple((1 - labels.mean(axis=0, dtype=np.float64)).tolist())


def smooth(labels: Scores, amount: float, *, multi_label: bool) -> Scores:
    """Labels moved towards ignorance by a share (Szegedy et al., CVPR 2016, section 7).

    Args:
      amount: 0 leaves them as they are, 1 nothing of them.
      multi_label: towards 1/2 for every class, else towards 1/k.
    """
    ignorance = 0.5 if multi_label else 1 / labels.shape[-1]
    return (1 - amount) * labels + amount * ignorance


LOSSES = {"bce": binary_cross_entropy, "ce": cross_entropy, "focal": focal}
SINGLE_LABEL = ("ce", "focal")


def get(
    name: str, *, multi_label: bool, label_smoothing: int | float = 0.0, **options
) -> Callable:
    """The loss of this name, with its options set.

    Args:
      name: "bce", "ce", "focal", or "package.module:function" for one of your own.
      multi_label: whether a clip of the data set may have several labels.
      label_smoothing: of `smooth`.
      options: "focal" takes gamma and alpha, "bce" and "ce" none; one of your own takes
        its arguments after the first two.

    Raises:
      ValueError: on an unknown name, one that does not fit the labels, an option too
        many or too few, or a smoothing outside [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"label_smoothing is {label_smoothing}, expected 0 <= label_smoothing < 1"
        )
    if multi_label and name in SINGLE_LABEL:
        raise ValueError(
            f"loss {name!r} takes one label per clip, the data set has several; use "
            "'bce'"
        )
    loss = LOSSES[name] if name in LOSSES else _import(name)
    signature = inspect.signature(loss)
    try:
        signature.bind(None, None, **options)
    except TypeError as error:
        raise ValueError(
            f"loss {name!r}: {error}; its options are "
            f"{list(signature.parameters)[2:]}, given were {sorted(options)}; set what "
            "config.loss lacks in a config file, as configs/finetune/icbhi.py does"
        ) from error
    loss = functools.partial(loss, **options)
    if not label_smoothing:
        return loss
    return lambda logits, labels: loss(
        logits, smooth(labels, label_smoothing, multi_label=multi_label)
    )


def _import(path: str) -> Callable:
    module, colon, attribute = path.partition(":")
    if not colon:
        raise ValueError(
            f"unknown loss {path!r}; known: {sorted(LOSSES)}, or "
            "'package.module:function' for one of your own"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    # A relative or empty module name raises one of the last two.
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot import loss {path!r}: {error}") from error
    if not callable(found):
        raise ValueError(f"loss {path!r} is {found!r}, expected a function")
    return found
