"""Clips of any length; the longest are run in pieces, so that they fit the memory."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from aemjax.audio.read import standardize
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.models.numerics import FLOAT
from aemjax.serve.classifier import Classifier, apply, own_variables
from aemjax.serve.waveforms import Waveform

PIECE_S = 300
NOT_FINITE = "the network's outputs are not finite"  # a reason, for callers
# The backbones halve the frames five times at most: cuts lie between places of the map.
PLACE_SAMPLES = 2**5 * FRAME_SAMPLES


def run_whole(
    classifier: Classifier, clips: Sequence[Waveform]
) -> dict[str, Float32[np.ndarray, "n _"]]:
    """The network's "embedding" "n 512" and "logits" "n k" of clips of any lengths.

    A clip of more than 5 min is standardised whole and run in pieces of about as much at
    most; the mean of their embeddings, by their lengths, is its own. An embedding is linear
    in the average over time, so this one differs from that of the clip in one piece by what
    is seen at the cuts. Its logits are what the head makes of it; where the head reads
    frames, the mean of the pieces'.

    Args:
      clips: as `Classifier.outputs` takes them.
    """
    longest = PIECE_S * classifier.sample_rate
    pieces: list[Waveform] = []
    shares: list[float] = []
    first = []  # piece of each clip
    for clip in clips:
        first.append(len(pieces))
        own = np.split(standardize(clip), _cuts(len(clip), longest))
        pieces += own
        shares += [len(piece) / len(clip) for piece in own]
    found = classifier.outputs(pieces, standardized=True)
    weights = np.array(shares, np.float32)[:, None]
    whole = {
        key: np.add.reduceat(found[key] * weights, first)
        for key in ("embedding", "logits")
    }
    cut = np.diff([*first, len(pieces)]) > 1
    head = _head(classifier)
    if cut.any() and not getattr(head, "reads_frames", False):
        variables = own_variables(classifier.variables, "head")
        embedding = jnp.asarray(whole["embedding"][cut])
        whole["logits"][cut] = apply(head, variables, embedding, None, train=False)
    return whole


def _head(classifier: Classifier) -> nn.Module:
    model = classifier.model
    own = {} if model.numerics == FLOAT else {"numerics": model.numerics}
    return model.make_head(**own)


def _cuts(n_samples: int, longest: int) -> list[int]:
    """Where a clip is cut, into pieces that are as equal as places allow."""
    n = -(-n_samples // longest)
    places = n_samples / n / PLACE_SAMPLES
    return [round(i * places) * PLACE_SAMPLES for i in range(1, n)]
