"""Distillation: a student learns the outputs of a teacher beside the labels."""

import dataclasses
from collections.abc import Callable

import jax
import optax
from jaxtyping import Array, Float

from aemjax.models import AemNet
from aemjax.models.layers import at_least_float32

Scores = Float[Array, "b k"]


def probabilities(
    logits: Scores, *, multi_label: bool, temperature: int | float
) -> Scores:
    """What a teacher's logits say: sigmoid or softmax of logits / temperature."""
    logits = at_least_float32(logits) / temperature
    return jax.nn.sigmoid(logits) if multi_label else jax.nn.softmax(logits)


@dataclasses.dataclass(frozen=True)
class Distillation:
    """label_weight * loss(labels) + teacher_weight * loss(teacher's outputs).

    The teacher's part is a cross-entropy with its outputs as targets, sigmoid or
    softmax, both sides at the temperature, times its square, which keeps the gradient's
    size (Hinton et al., arXiv 1503.02531, section 2). Checkpoint #2 of Galindo-Meza
    2021, chapter 4.5, is distilled; the weights 0.1 and 0.9 are our choice.

    Attributes:
      multi_label: of the data set.
      teacher: the network that makes the outputs in the step; None: they are stored,
        and come with the batch.
      temperature: above 1, small outputs count more.
    """

    multi_label: bool
    teacher: AemNet | None = None
    label_weight: int | float = 0.1
    teacher_weight: int | float = 0.9
    temperature: int | float = 1.0

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}, expected above 0")
        for name in ("label_weight", "teacher_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected >= 0")

    def teach(self, weights, audio: Float[Array, "b t"]) -> Scores:
        """The outputs of the network for the audio that the student hears.

        Args:
          weights: its {"params", "batch_stats"}.
        """
        logits, _ = self.teacher.apply(weights, audio, train=False)
        return probabilities(
            logits, multi_label=self.multi_label, temperature=self.temperature
        )

    def loss(
        self, logits: Scores, targets: dict[str, Array], label_loss: Callable
    ) -> Float[Array, "b"]:
        """One value per clip; one whose outputs are not known keeps to its labels.

        Args:
          targets: "labels" "b k", the "teacher"'s outputs "b k" and, where they are
            stored, "taught" "b": 1 where they are known.
          label_loss: from `losses`.
        """
        scaled = at_least_float32(logits) / self.temperature
        if self.multi_label:
            taught = optax.sigmoid_binary_cross_entropy(scaled, targets["teacher"])
            taught = taught.mean(axis=-1)
        else:
            taught = optax.softmax_cross_entropy(scaled, targets["teacher"])
        taught = self.temperature**2 * taught
        if "taught" in targets:
            # Mixup with a clip that has no outputs leaves less than 1 of a clip.
            taught = (targets["taught"] > 1 - 1e-3) * taught
        own = label_loss(logits, targets["labels"])
        return self.label_weight * own + self.teacher_weight * taught
