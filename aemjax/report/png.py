"""Figures as PNG files."""

import os
from pathlib import Path

from matplotlib.figure import Figure


def save_png(figure: Figure, path: Path) -> None:
    """Writes a figure, whole or not at all.

    Raises:
      OSError: if it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        figure.savefig(temporary, format="png", dpi=120)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
