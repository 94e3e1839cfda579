"""Classifiers of random weights, small enough for a page that is tested."""

import jax
import numpy as np

from aemjax.models import create
from aemjax.serve.classifier import Classifier
from aemjax.train.card import Card

# Labels are anyone's, and may be HTML.
LABELS = ["<img src=x onerror=alert(1)>", "rain & wind", 'a "dog"', "sea"]


def tiny_classifier(*, seed=0, frontend="llf1", multi_label=False, labels=LABELS):
    about = {
        "name": "tests.tiny:Backbone",
        "num_classes": len(labels),
        "frontend": frontend,
        "dtype": "float32",
    }
    silence = np.zeros((1, 1_600), np.float32)
    init = jax.jit(create(**about).init)
    variables = jax.tree.map(np.asarray, init(jax.random.key(seed), silence))
    data = {"dataset": "made", "fingerprint": "none"}
    card = Card(about, 16_000, labels, multi_label, "accuracy", "unknown", data)
    return Classifier(card, variables)
