"""Trained networks in use: waveforms and files in, embeddings and scores out."""
