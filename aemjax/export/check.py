"""Whether a file gives the outputs of the model that it came from."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from aemjax.audio import read
from aemjax.audio.read import SAMPLE_RATE
from aemjax.data.prepared import PreparedSet
from aemjax.export.graph import OUTPUTS, Network

TOLERANCE = 1e-4  # of float32 logits up to 10; of larger ones a hundred-thousandth
# Of integers, the share of the outputs' root mean square that the difference's may be: an
# engine's sums may fall on the other side of a rounding.
INTEGERS_TOLERANCE = 0.1
LENGTHS_S = (0.01, 0.3, 1.0, 3.7, 10.0)


def random_audio(lengths_s: Iterable[int | float] = LENGTHS_S) -> list[np.ndarray]:
    """Clips "b t" of each length: noise, in batches of one, two and three.

    Of mean 0 and deviation 1, so that a network takes them standardising or not.
    """
    rng = np.random.default_rng(0)
    shapes = [(1 + n % 3, round(s * SAMPLE_RATE)) for n, s in enumerate(lengths_s)]
    return [
        np.stack([read.standardize(clip) for clip in rng.normal(size=shape)])
        for shape in shapes
    ]


def real_audio(
    data: PreparedSet, *, rows: np.ndarray | None = None, clips: int = 8
) -> list[np.ndarray]:
    """Whole clips "1 t" of a prepared set, of mean 0 and deviation 1.

    The shortest, the longest, and others evenly between them.

    Args:
      rows: to choose among; None: all.
    """
    rows = np.arange(len(data)) if rows is None else rows
    by_length = rows[np.argsort(data.n_samples[rows], kind="stable")]
    places = np.linspace(0, len(by_length) - 1, min(clips, len(by_length)))
    return [
        read.standardize(read.from_int16(data.read_audio(int(row))))[None]
        for row in by_length[np.unique(places.round().astype(int))]
    ]


def of_lengths(
    batches: Iterable[np.ndarray], lengths_s: Iterable[int | float]
) -> list[np.ndarray]:
    """Clips "b t" cut or looped to each length; of mean 0 and deviation 1 again."""
    sizes = [round(length * SAMPLE_RATE) for length in lengths_s]
    return [
        np.stack([read.standardize(np.resize(clip, size)) for clip in clips])
        for clips in batches
        for size in sizes
    ]


def check(
    network: Network,
    run: Callable[[np.ndarray], Sequence[np.ndarray]],
    batches: Iterable[np.ndarray],
    *,
    what: str,
    tolerance: float = TOLERANCE,
) -> float:
    """The largest difference of logits between an engine and the model.

    Args:
      run: audio "b t" -> the engine's (logits, embedding).
      what: the file, in words.

    Raises:
      ValueError: if it is beyond the tolerance, or the engine's shapes are others.
    """
    worst = 0.0
    for audio in batches:
        for name, found, expected in _outputs(network, run, audio, what):
            difference = float(np.abs(found - expected).max())
            allowed = tolerance * max(1.0, float(np.abs(expected).max()) / 10)
            # Not a number is beyond it too.
            if not difference <= allowed:
                raise ValueError(
                    f"{what}: {name} of audio {audio.shape} differ from the model's by "
                    f"{difference:.3g}, more than {allowed:.3g}; nothing is written. Try "
                    "another format, and report it"
                )
            if name == "logits":
                worst = max(worst, difference)
    return worst


def check_integers(
    network: Network,
    run: Callable[[np.ndarray], Sequence[np.ndarray]],
    batches: Iterable[np.ndarray],
    *,
    what: str,
) -> float:
    """How far an engine's logits are from the model's, as a share of these.

    Both as root mean squares; the model is the one that rounds.

    Args:
      run, what: of `check`.

    Raises:
      ValueError: if logits or embeddings are too far, or the engine's shapes are others.
    """
    squares = {"logits": np.zeros(2), "embedding": np.zeros(2)}
    for audio in batches:
        for name, found, expected in _outputs(network, run, audio, what):
            squares[name] += [np.sum((found - expected) ** 2), np.sum(expected**2)]
    shares = {}
    for name, (difference, size) in squares.items():
        shares[name] = float(np.sqrt(difference / max(size, np.finfo(float).tiny)))
        if not shares[name] <= INTEGERS_TOLERANCE:
            raise ValueError(
                f"{what}: {name} differ from the model's by {shares[name]:.3g} of their "
                f"root mean square, more than {INTEGERS_TOLERANCE}; nothing is "
                "written. Try another format, and report it"
            )
    return shares["logits"]


def _outputs(
    network: Network, run: Callable, audio: np.ndarray, what: str
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, the engine's, the model's) of each output."""
    both = list(zip(OUTPUTS, run(audio), network(audio), strict=True))
    for name, found, expected in both:
        if found.shape != expected.shape:
            raise ValueError(
                f"{what}: {name} of audio {audio.shape} are {found.shape}, those of "
                f"the model {expected.shape}"
            )
    return both
