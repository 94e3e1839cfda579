"""Lengths that clips are padded to, and the windows that they are cut into."""


def bucket_samples(n_samples: int) -> int:
    """A length that clips of about `n_samples` are padded to: at most a quarter more.

    Four lengths to an octave, so that few shapes are compiled; whole 10 ms frames.
    """
    quantum = 2 ** max(10, n_samples.bit_length() - 3)
    padded = -(-n_samples // quantum) * quantum
    return padded + -padded % 160


def clip_windows(
    n_samples: int, *, window_samples: int, hop_samples: int
) -> list[tuple[int, int]]:
    """(start, samples) of a clip's windows; the last one ends with the clip.

    Args:
      window_samples: 0: whole clips; a shorter clip is whole too.
      hop_samples: between the beginnings of windows.
    """
    if not window_samples or n_samples <= window_samples:
        return [(0, n_samples)]
    last = n_samples - window_samples
    return [(start, window_samples) for start in (*range(0, last, hop_samples), last)]
