"""Evaluation-mode forward pass of the three AemNet networks, in plain NumPy.

Written from the published description alone, in float64, with no code in common with
`aemjax.models`: a test that compares the two compares two readings of the papers.
Feature maps are `b f m c` (frames, the image's 128 frequency-like rows, channels).
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

EPSILON = 1e-5
RESNET_STRIDED_BLOCKS = (3, 5, 7)
VGG_LAYERS = range(3, 12)
VGG_POOLED_LAYERS = (3, 5, 7, 9, 11)


def forward(
    variables: Mapping, audio: np.ndarray, *, backbone: str, llf: tuple[int, int, int]
) -> dict[str, np.ndarray]:
    """Runs one network with running BatchNorm statistics and without dropout.

    `audio` is `b t`, at least one frame (the product of `llf`) long; `llf` is (first
    stride, second stride, pool); `backbone` is a key of `BACKBONES`. Every other size
    is that of the arrays in `variables`. Returns float64 "logits" `b k`, "embedding"
    `b d` and "pooled" `b c`.

    Raises:
        ValueError: `backbone` is unknown.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"unknown backbone {backbone!r}; known: {sorted(BACKBONES)}")
    tree = _merge(variables["params"], variables["batch_stats"])
    head = tree["head"]["dense"]
    image = low_level_features(tree["frontend"], audio, llf)[..., None]
    features = BACKBONES[backbone](tree["backbone"], image)
    pooled = features.mean(axis=(1, 2))
    if backbone == "vgg":  # acnet: classify every position, then average
        logits = dense(features, head).mean(axis=(1, 2))
        return {"logits": logits, "embedding": pooled, "pooled": pooled}
    embedding = dense(pooled, tree["embedding"])
    logits = dense(relu(embedding), head)  # aclnetx
    return {"logits": logits, "embedding": embedding, "pooled": pooled}


def low_level_features(
    p: Mapping, audio: np.ndarray, llf: tuple[int, int, int]
) -> np.ndarray:
    """Turns `b t` into `b f c`; the pool drops an incomplete last frame."""
    stride1, stride2, pool = llf
    x = np.asarray(audio, np.float64)[..., None]
    x = relu(batch_norm(conv(x, p["conv1"]["kernel"], stride=stride1), p["bn1"]))
    x = relu(batch_norm(conv(x, p["conv2"]["kernel"], stride=stride2), p["bn2"]))
    b, t, c = x.shape
    return x[:, : t - t % pool].reshape(b, t // pool, pool, c).max(axis=2)


def vgg(p: Mapping, x: np.ndarray) -> np.ndarray:
    for i in VGG_LAYERS:
        x = relu(batch_norm(conv(x, p[f"conv{i}"]["kernel"]), p[f"bn{i}"]))
        if i in VGG_POOLED_LAYERS:
            x = max_pool_ceil(x)
    return x


def vgg_dw(p: Mapping, x: np.ndarray) -> np.ndarray:
    for i in VGG_LAYERS:
        layer = p[f"conv{i}"]
        x = depthwise_conv(x, layer["depthwise"]["kernel"])
        x = relu(batch_norm(x, layer["depthwise_bn"]))
        x = conv(x, layer["pointwise"]["kernel"])
        x = relu(batch_norm(x, layer["pointwise_bn"]))
        if i in VGG_POOLED_LAYERS:
            x = max_pool_ceil(x)
    return x


def resnet18(p: Mapping, x: np.ndarray) -> np.ndarray:
    x = relu(batch_norm(conv(x, p["conv3"]["kernel"]), p["bn3"]))
    x = max_pool(x, size=3, stride=2, pads=((1, 1), (1, 1)))
    for i in range(1, 9):
        stride = 2 if i in RESNET_STRIDED_BLOCKS else 1
        x = basic_block(p[f"block{i}"], x, stride=stride)
    return x


def basic_block(p: Mapping, x: np.ndarray, *, stride: int) -> np.ndarray:
    y = relu(batch_norm(conv(x, p["conv1"]["kernel"], stride=stride), p["bn1"]))
    y = batch_norm(conv(y, p["conv2"]["kernel"]), p["bn2"])
    if "projection" in p:
        x = conv(x, p["projection"]["kernel"], stride=stride)
        x = batch_norm(x, p["projection_bn"])
    if x.shape != y.shape:
        raise ValueError(f"shortcut {x.shape} does not fit {y.shape}: no projection?")
    return relu(y + x)


BACKBONES: Mapping[str, Callable[[Mapping, np.ndarray], np.ndarray]] = {
    "vgg": vgg,
    "vgg_dw": vgg_dw,
    "resnet18": resnet18,
}


def conv(x: np.ndarray, kernel: np.ndarray, *, stride: int = 1) -> np.ndarray:
    """Correlates `b ... c` with `kernel` [*sizes, c, c_out], in one or two axes."""
    taps = _windows(x, kernel.shape[:-2], stride)  # b ... c *sizes
    n = kernel.ndim - 2
    return np.tensordot(taps, np.moveaxis(kernel, n, 0), axes=n + 1)


def depthwise_conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlates each channel of `b f m c` with its own slice of `kernel` [i, j, 1, c]."""
    taps = _windows(x, kernel.shape[:2], 1)
    if kernel.shape[2:] != (1, x.shape[-1]):
        raise ValueError(f"kernel {kernel.shape} does not fit {x.shape[-1]} channels")
    return np.einsum("bfmcij,ijc->bfmc", taps, kernel[:, :, 0])


def batch_norm(x: np.ndarray, p: Mapping) -> np.ndarray:
    return (x - p["mean"]) / np.sqrt(p["var"] + EPSILON) * p["scale"] + p["bias"]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def dense(x: np.ndarray, p: Mapping) -> np.ndarray:
    return x @ p["kernel"] + p["bias"]


def max_pool_ceil(x: np.ndarray) -> np.ndarray:
    """2x2 maximum at stride 2; an odd last row or column makes an output by itself."""
    pads = tuple((0, n % 2) for n in x.shape[1:3])
    return max_pool(x, size=2, stride=2, pads=pads)


def max_pool(x: np.ndarray, *, size: int, stride: int, pads: tuple) -> np.ndarray:
    x = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-np.inf)
    taps = sliding_window_view(x, (size, size), axis=(1, 2))
    return taps[:, ::stride, ::stride].max(axis=(-2, -1))


def _windows(x: np.ndarray, sizes: tuple[int, ...], stride: int) -> np.ndarray:
    """Zero-pads ((K-1)//2, K//2) and gives `b ... c *sizes`, every `stride`-th one."""
    pads = [((k - 1) // 2, k // 2) for k in sizes]
    x = np.pad(x, [(0, 0), *pads, (0, 0)])
    taps = sliding_window_view(x, sizes, axis=tuple(range(1, len(sizes) + 1)))
    return taps[(slice(None), *[slice(None, None, stride)] * len(sizes))]


def _merge(params: Mapping, stats: Mapping) -> dict:
    """One float64 tree in which a BatchNorm has scale, bias, mean and var together."""
    merged = {}
    for name in {*params, *stats}:
        p, s = params.get(name, {}), stats.get(name, {})
        nested = isinstance(p, Mapping) and isinstance(s, Mapping)
        leaf = s if isinstance(p, Mapping) else p
        merged[name] = _merge(p, s) if nested else np.asarray(leaf, np.float64)
    return merged
