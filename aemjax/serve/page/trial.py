"""A network that is damaged is refused at the start, not in each request."""

import numpy as np
from jaxtyping import Float32

from aemjax.serve.classifier import Classifier


def run_silence(classifier: Classifier) -> dict[str, Float32[np.ndarray, "1 _"]]:
    """What the network makes of a second of silence, as `Classifier.outputs`.

    Raises:
      ValueError: if it does not run.
    """
    try:
        return classifier.outputs([np.zeros(classifier.sample_rate, np.float32)])
    except TypeError as error:  # Flax checks the shapes of weights, not of statistics
        raise ValueError(
            f"the weights are not those of the card's model: {error}; copy or make the "
            "network's folder again"
        ) from error
