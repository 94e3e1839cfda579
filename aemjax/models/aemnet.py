"""AemNet: front end -> backbone -> embedding -> head, built by name."""

import functools
import importlib
import inspect
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from aemjax.models import backbones, frontends, heads
from aemjax.models.layers import Valid, at_least_float32, dense, mean_over_valid
from aemjax.models.numerics import FLOAT, INT8, check

EMBEDDING_DIM = 512

BACKBONES = {
    "aemnet": backbones.VGG,
    "aemnet_dw": functools.partial(backbones.VGG, separable=True),
    "aemresnet": backbones.ResNet18,
}
# The head that each published model has.
DEFAULT_HEADS = {"aemnet": "acnet", "aemnet_dw": "aclnetx", "aemresnet": "aclnetx"}
HEADS = {"acnet": heads.AclNetHead, "aclnetx": heads.AclNetXHead}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}

# Blocks, in the order of the signal; also the top-level parameter names.
BLOCKS = ("frontend", "backbone", "embedding", "head")


class AemNet(nn.Module):
    """An end-to-end audio classifier.

    Attributes:
      make_frontend, make_backbone, make_head: callables that build the blocks, given
        `name=` and (all but the head) `dtype=`, and `numerics=` unless it is "float".
      frozen: blocks, or stages of the backbone ("backbone/stage1"), whose BatchNorm keeps
        to its running statistics.
      dtype: compute type of front end and backbone; embedding and head are float32.
      numerics: of `aemjax.models.numerics`.
    """

    make_frontend: functools.partial
    make_backbone: functools.partial
    make_head: functools.partial
    frozen: tuple[str, ...] = ()
    dtype: DTypeLike = jnp.float32
    numerics: str = FLOAT

    @nn.compact
    def __call__(
        self,
        audio: Float[Array | np.ndarray, "b t"],
        lengths: Int[Array | np.ndarray, "b"] | None = None,
        *,
        train: bool = False,
        alter_features: Callable[[Array], Array] | None = None,
    ) -> tuple[Float[Array, "b k"], dict[str, Array]]:
        """Scores standardised waveforms.

        Args:
          audio: 16 kHz, standardised per clip (mean 0, deviation 1).
          lengths: valid samples of each row, at least one 10 ms frame; what lies past
            them does not change the result. None: all.
          train: batch statistics and dropout (which needs the "dropout" stream).
          alter_features: applied to the front end's output "b f c", such as masks.

        Returns:
          Logits "b k", and a dict of "embedding" "b 512", "pooled" "b c".
        """

        def training(block: str) -> bool:
            return train and block not in self.frozen

        # Each front end knows what its audio may be rounded to.
        audio = jnp.asarray(audio)
        lengths = None if lengths is None else jnp.asarray(lengths)
        # Blocks that know of no other numerics have no such field.
        own = {} if self.numerics == FLOAT else {"numerics": self.numerics}
        frontend = self.make_frontend(dtype=self.dtype, name="frontend", **own)
        x, valid = frontend(audio, lengths, train=training("frontend"))
        x = checkpoint_name(x, "block")
        if alter_features is not None:
            x = alter_features(x)
        within = tuple(
            name.removeprefix("backbone/")
            for name in self.frozen
            if name.startswith("backbone/")
        )
        # Backbones without stages have no such field.
        options = own | ({"frozen": within} if within else {})
        backbone = self.make_backbone(dtype=self.dtype, name="backbone", **options)
        frames, valid = backbone(
            x.reshape(*x.shape, 1), valid, train=training("backbone")
        )
        return _embed_and_score(
            frames,
            valid,
            make_head=self.make_head,
            embeds_by_pooling=getattr(backbone, "embeds_by_pooling", False),
            numerics=self.numerics,
            training=training,
        )


class Tail(nn.Module):
    """What of an `AemNet` follows its backbone; its weights have the same names."""

    make_head: functools.partial
    embeds_by_pooling: bool = False
    numerics: str = FLOAT

    @nn.compact
    def __call__(
        self, frames: Float[Array, "b f w c"], valid: Valid = None
    ) -> tuple[Float[Array, "b k"], dict[str, Array]]:
        """Scores the backbone's map, without dropout: as `AemNet`."""
        return _embed_and_score(
            frames,
            valid,
            make_head=self.make_head,
            embeds_by_pooling=self.embeds_by_pooling,
            numerics=self.numerics,
            training=lambda block: False,
        )


def _embed_and_score(
    frames, valid, *, make_head, embeds_by_pooling, numerics, training
):
    """Call it inside `nn.compact`."""
    own = {} if numerics == FLOAT else {"numerics": numerics}
    pooled = mean_over_valid(frames, valid)
    head = make_head(name="head", **own)
    reads_frames = getattr(head, "reads_frames", False)
    embedding = pooled
    if not embeds_by_pooling:
        embed = functools.partial(
            dense,
            features=EMBEDDING_DIM,
            name="embedding",
            numerics=numerics,
            signed=False,
            train=training("embedding"),
        )
        if reads_frames:  # linear, so it may as well act before the average
            frames = embed(at_least_float32(frames))
            embedding = mean_over_valid(frames, valid)
        else:
            embedding = embed(pooled)
    read = frames if reads_frames else embedding
    logits = head(read, valid, train=training("head"))
    return logits, {"embedding": embedding, "pooled": pooled}


def parts(model: AemNet) -> tuple[nn.Module, nn.Module, Tail]:
    """(front end, backbone, what follows) of a model, each a module by itself.

    The first two take what the model has by the names "frontend" and "backbone" in its
    "params" and "batch_stats", the last one all of its variables.
    """
    own = {} if model.numerics == FLOAT else {"numerics": model.numerics}
    backbone = model.make_backbone(dtype=model.dtype, **own)
    tail = Tail(
        model.make_head,
        embeds_by_pooling=getattr(backbone, "embeds_by_pooling", False),
        numerics=model.numerics,
    )
    return model.make_frontend(dtype=model.dtype, **own), backbone, tail


def create(
    name: str,
    *,
    num_classes: int,
    frontend: str = "llf1",
    width: float = 1.0,
    head: str | None = None,
    dropout: float = 0.2,
    dtype: str = "float32",
    numerics: str = FLOAT,
) -> AemNet:
    """Builds a model; `__call__(audio "b t", *, train)` gives (logits "b k", aux).

    Front end, backbone and head combine freely; each may be "package.module:Class", a
    module of your own (`frontends`, `backbones` and `heads` say what it must do).

    Args:
      name: "aemnet", "aemnet_dw", "aemresnet", or a backbone's import path.
      num_classes: of the head.
      frontend: "llf1", "llf2", "llf-fast", "K1,S1,K2,S2", "log_mel", "log_mel40",
        "mfcc", "mfcc40", or an import path.
      width: multiplier of the backbone's channels.
      head: "acnet", "aclnetx", or an import path; None: the published one.
      dropout: rate in the head.
      dtype: compute type.
      numerics: "float"; "folded", without BatchNorm; or "int8", folded and rounded
        (`aemjax.models.numerics`).

    Raises:
      ValueError: on a name that is neither known nor an import path, a bad size, or a
        block that cannot do with these numerics.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}, a head needs at least 1")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}, expected 0 <= dropout < 1")
    if ":" in frontend:
        make_frontend = functools.partial(_import(frontend))
    else:
        make_frontend = frontends.by_name(frontend)
    make_backbone = functools.partial(_resolve(name, BACKBONES, "model"), width=width)
    head = head or DEFAULT_HEADS.get(name, "aclnetx")
    make_head = functools.partial(
        _resolve(head, HEADS, "head"), num_classes=num_classes, dropout=dropout
    )
    if check(numerics) == INT8 and dtype == "bfloat16":
        raise ValueError(
            "dtype is 'bfloat16' and numerics 'int8': bfloat16 holds no steps of int8 "
            "kernels; choose float32"
        )
    if numerics != FLOAT:
        named = {frontend: make_frontend, name: make_backbone, head: make_head}
        for given, block in named.items():
            if "numerics" not in block.func.__dataclass_fields__:
                raise ValueError(
                    f"{given!r} knows of no numerics {numerics!r}, only of {FLOAT!r}: it "
                    "has no field `numerics`"
                )
    return AemNet(
        make_frontend=make_frontend,
        make_backbone=make_backbone,
        make_head=make_head,
        dtype=_resolve(dtype, DTYPES, "dtype"),
        numerics=numerics,
    )


def _resolve(name: str, known: dict, kind: str):
    if name in known:
        return known[name]
    if ":" in name:
        return _import(name)
    raise ValueError(
        f"unknown {kind} {name!r}; known: {sorted(known)}, or 'package.module:Class'"
    )


def _import(path: str):
    module_name, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    # A relative or empty module name raises one of the last two.
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot import {path!r}: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise ValueError(f"{path!r} is {found!r}, expected a flax.linen.Module class")
    return found
