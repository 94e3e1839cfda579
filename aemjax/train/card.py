"""The JSON card that every checkpoint carries."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Card:
    """What a checkpoint says of itself.

    Attributes:
      model: arguments of `aemjax.models.create`.
      sample_rate: Hz of the audio that the model was trained on.
      labels: class names, in the order of the logits.
      multi_label: sigmoid rather than softmax.
      metric: by which the best step was chosen.
      commit: git commit of the code, or "unknown".
      data: where the training audio came from, and its fingerprint.
    """

    model: dict[str, Any]
    sample_rate: int
    labels: list[str]
    multi_label: bool
    metric: str
    commit: str
    data: dict[str, Any]

    @property
    def item(self) -> str:
        """Which weights the metric scored: "ema" or "weights"."""
        return "ema" if self.metric.startswith("ema_") else "weights"

    @classmethod
    def of_run(cls, model: dict[str, Any], manifest: dict[str, Any], metric: str):
        """The card of a run of this checkout on the prepared set of a manifest."""
        from aemjax.train.workdir import git_commit  # readers of cards do without

        return cls(
            model=model,
            sample_rate=manifest["sample_rate"],
            labels=manifest["labels"],
            multi_label=manifest["multi_label"],
            metric=metric,
            commit=git_commit(),
            data={
                "dataset": manifest["dataset"],
                "fingerprint": manifest["checksum"],
            },
        )
