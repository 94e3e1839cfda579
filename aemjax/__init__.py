"""End-to-end audio classifiers in JAX: raw waveform in, embedding and scores out."""

__version__ = "0.1.0"
