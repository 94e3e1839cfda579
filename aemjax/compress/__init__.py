"""Pruning, and the bytes that a network takes."""
