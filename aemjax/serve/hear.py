"""A trained network under the API of HEAR 2021, hearbenchmark.com, in PyTorch's tensors::

    hear-validator aemjax.serve.hear --model released

A scene's embedding is that of the clip, as `aemjax embed` writes it. A timestamp's is that
of 0.96 s around it, every 50 ms from 0 on. The backbones halve the frames of 10 ms up to
five times, and a place of their map is 320 ms: no hop of 50 ms can be read from the map, and
a window of three places is little enough to tell when, and enough to tell what. It is
standardised by its clip's mean and deviation, as crops are in training, so that what is
soft stays soft. Before its beginning and after its end a clip is mirrored.
"""

import itertools
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Float32

from aemjax.audio.read import standardize
from aemjax.models.frames import FRAME_SAMPLES
from aemjax.serve.classifier import Classifier, load
from aemjax.serve.long_clips import run_whole
from aemjax.serve.waveforms import waveforms

try:
    import torch
except ImportError as error:
    raise ImportError(
        f"{error}; HEAR's API is PyTorch's: `pip install 'aemjax[hear]'`"
    ) from error

WINDOW_MS = 960
HOP_MS = 50
# Batches of windows that are cut out at once.
GROUP_BATCHES = 8


class HearModel(torch.nn.Module):
    """A network that JAX runs, on its own device; PyTorch sees no weights or gradients.

    Attributes:
      classifier: the network.
      sample_rate: Hz of the audio that it takes.
      scene_embedding_size, timestamp_embedding_size: numbers of an embedding.
    """

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier = classifier
        self.sample_rate = classifier.sample_rate
        outputs = jax.eval_shape(
            classifier.model.apply,
            classifier.variables,
            np.zeros((1, FRAME_SAMPLES), np.float32),
        )
        self.scene_embedding_size = outputs[1]["embedding"].shape[-1]
        self.timestamp_embedding_size = self.scene_embedding_size

    def forward(self, audio: torch.Tensor) -> Float32[torch.Tensor, "n d"]:
        """As `get_scene_embeddings`."""
        return get_scene_embeddings(audio, self)


def load_model(model_file_path: str) -> HearModel:
    """The network of a folder of `aemjax release`, or of a run.

    Raises:
      ValueError: as `aemjax.load`.
    """
    return HearModel(load(model_file_path))


def get_scene_embeddings(
    audio: torch.Tensor, model: HearModel
) -> Float32[torch.Tensor, "n d"]:
    """An embedding of each clip, on the audio's device.

    Args:
      audio: mono "n t" in [-1, 1] at `model.sample_rate`.

    Raises:
      ValueError: if it is something else, shorter than 10 ms or not finite.
    """
    found = run_whole(model.classifier, _clips(audio, model))
    return torch.from_numpy(found["embedding"]).to(audio.device)


def get_timestamp_embeddings(
    audio: torch.Tensor, model: HearModel
) -> tuple[Float32[torch.Tensor, "n s d"], Float32[torch.Tensor, "n s"]]:
    """(embeddings, timestamps in milliseconds): every 50 ms of each clip, from 0 on.

    Args:
      audio: as in `get_scene_embeddings`.

    Raises:
      ValueError: as `get_scene_embeddings`.
    """
    clips = _clips(audio, model)
    hop = HOP_MS * model.sample_rate // 1000
    centres = range(0, len(clips[0]), hop)
    found = []
    windows = _windows(clips, WINDOW_MS * model.sample_rate // 1000, hop)
    while group := list(
        itertools.islice(windows, GROUP_BATCHES * model.classifier.batch_size)
    ):
        found.append(model.classifier.outputs(group, standardized=True)["embedding"])
    embeddings = torch.from_numpy(np.concatenate(found)).to(audio.device)
    stamps_ms = HOP_MS * torch.arange(len(centres), device=audio.device).float()
    return (
        embeddings.reshape(len(clips), len(centres), -1),
        stamps_ms.repeat(len(clips), 1),
    )


def _clips(audio: torch.Tensor, model: HearModel) -> list[Float32[np.ndarray, "t"]]:
    if audio.ndim != 2:
        raise ValueError(
            f"the audio is of shape {tuple(audio.shape)}, expected (sounds, samples)"
        )
    if not audio.is_floating_point():
        raise ValueError(
            f"the audio is of {audio.dtype}, expected floats in [-1, 1]; divide integers by "
            "full scale"
        )
    # NumPy has not all of them, such as bfloat16.
    array = audio.detach().cpu().float().numpy()
    return waveforms(array, sample_rate=model.sample_rate)[0]


def _windows(
    clips: list[Float32[np.ndarray, "t"]], window: int, hop: int
) -> Iterator[Float32[np.ndarray, "w"]]:
    """Those around every `hop` samples of each clip, in order."""
    for clip in clips:
        padded = np.pad(
            standardize(clip), (window // 2, window - window // 2), "reflect"
        )
        for start in range(0, len(clip), hop):
            yield padded[start : start + window]
