"""Pretraining's step in PyTorch: the augmentation, loss and optimiser of `aemjax.train`.

Nothing here is of JAX. Written as its users would for speed: channels_last, autocast,
fused Adam, and all of a step's forward pass under `torch.compile`.
"""

import contextlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIN_STD = 1e-5
GAIN_DB = 6.0
SNR_DB = (10.0, 40.0)
NOISE_PROBABILITY = 0.5
MIXUP_ALPHA = 0.1


class Step:
    """One update by binary cross-entropy and Adam with classic L2 decay."""

    def __init__(
        self,
        network: nn.Module,
        *,
        device: str,
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
        augmented: bool = True,
        learning_rate: float = 5e-4,
        weight_decay: float = 1e-8,
    ):
        """Moves the network to the device.

        Args:
          network: of `pytorch_aemnet.create`.
          dtype: of convolutions, by autocast; parameters are float32.
          compiled: whether `torch.compile` makes of it what it can.
          augmented: with gain, noise and mixup.
        """
        self._network = network.to(device, memory_format=torch.channels_last).train()
        self._optimizer = torch.optim.Adam(
            network.parameters(),
            lr=learning_rate,
            weight_decay=weight_decay,
            fused=True,
        )
        self._autocast = (
            contextlib.nullcontext()
            if dtype == torch.float32
            else torch.autocast(device, dtype)
        )
        self._augmented = augmented
        self._loss = torch.compile(self._forward) if compiled else self._forward

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Trains on {"audio": int16 "b t", "mean": "b", "std": "b", "labels": "b k"}."""
        loss = self._loss(**batch)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _forward(
        self, audio: Tensor, mean: Tensor, std: Tensor, labels: Tensor
    ) -> Tensor:
        audio = audio.float() / 32_768
        audio = (audio - mean[:, None]) / std.clamp(min=MIN_STD)[:, None]
        if self._augmented:
            audio, labels = augment(audio, labels)
        with self._autocast:
            logits, _ = self._network(audio)
        return F.binary_cross_entropy_with_logits(logits.float(), labels)


def augment(audio: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Gain, white noise for a share of the clips, mixup of neighbours."""
    rows = (audio.shape[0], 1)
    device = audio.device
    gain_db = torch.empty(rows, device=device).uniform_(-GAIN_DB, GAIN_DB)
    audio = audio * 10 ** (gain_db / 20)
    snr_db = torch.empty(rows, device=device).uniform_(*SNR_DB)
    level = audio.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr_db / 20)
    chosen = torch.rand(rows, device=device) < NOISE_PROBABILITY
    audio = audio + torch.where(chosen, level, 0) * torch.randn_like(audio)
    share = _beta_share(rows, device)
    return _mix(audio, share), _mix(labels, share)


def _beta_share(rows: tuple[int, int], device: torch.device, tries: int = 32) -> Tensor:
    """Draws of Beta(alpha, alpha), by Joehnk's method, without leaving the device."""
    log_x, log_y = torch.rand(2, tries, *rows, device=device).log() / MIXUP_ALPHA
    chosen = (torch.logaddexp(log_x, log_y) <= 0).int().argmax(0, keepdim=True)
    return torch.sigmoid(log_x - log_y).gather(0, chosen)[0]


def _mix(x: Tensor, share: Tensor) -> Tensor:
    partner = x.view(-1, 2, x.shape[1]).flip(1).reshape(x.shape)
    return share * x + (1 - share) * partner
