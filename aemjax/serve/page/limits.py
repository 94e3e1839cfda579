"""What one request may ask of the server."""

import dataclasses

from aemjax.serve.long_clips import PIECE_S

# Nothing that is computed, waited for or answered grows beyond these.
MAX_TOP_K = 100
MAX_WINDOWS = 250
# All windows together may be as many times as long as the clip.
MAX_OVERLAP = 4
WAVEFORM_BINS = 800
FEATURE_COLUMNS = 600
# Requests that are received, wait or are computed; each may hold a file in memory.
MAX_IN_HAND = 8
RETRY_AFTER_S = 5
# Two channels at 192 kHz, or eight at 48 kHz.
VALUES_PER_S = 2 * 192_000


@dataclasses.dataclass(frozen=True)
class Limits:
    """How large a file may be, and how slow its sender.

    Attributes:
      max_mb: bytes of a file, in millions.
      max_s: seconds of audio in it, so few that a network takes them in one piece.
      timeout_s: until a request must have been received.

    Raises:
      ValueError: on numbers out of range.
    """

    max_mb: float | int = 20
    max_s: float | int = 60
    timeout_s: float | int = 30

    def __post_init__(self):
        for name, least, most in (
            ("max_mb", 0.001, 1_000),
            ("max_s", 0.01, PIECE_S),
            ("timeout_s", 0.1, 3_600),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                option = "--" + name.replace("_", "-")
                raise ValueError(
                    f"{option} is {value}, expected {least:g} to {most:,}; choose another"
                )

    @property
    def max_bytes(self) -> int:
        return round(self.max_mb * 1e6)

    @property
    def max_values(self) -> int:
        """Samples of all channels that a file may be decoded to."""
        return round(self.max_s * VALUES_PER_S)
