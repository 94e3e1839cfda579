"""Figures as SVG text that a page holds: its own colours, names and nothing to load."""

import contextlib
import io
import re

import matplotlib
from matplotlib.figure import Figure

# Stands for the page's text colour, so that a figure is legible in the light and dark.
INK = "#010203"
STYLE = {
    "svg.fonttype": "none",  # text stays text: it is searched, and half the size
    "svg.hashsalt": "aemjax",  # the same figure is the same text
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.prop_cycle": matplotlib.cycler(color=["#2f7ed8", "#e07b39", "#3a9d5d"]),
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


@contextlib.contextmanager
def new_figure(width: int | float, height: int | float):
    """A figure of that many inches, whose parts are made within the context."""
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(figure: Figure) -> str:
    """A figure's <svg> element."""
    with matplotlib.rc_context(STYLE), io.StringIO() as buffer:
        figure.savefig(buffer, format="svg", transparent=True, dpi=144)
        text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    return text.replace(INK, "currentColor").strip()


def make_names_unique(svgs: list[str]) -> list[str]:
    """The same figures, none of which has the name of another's part."""
    return [
        re.sub(r'(\bid="|href="#|url\(#)', rf"\1f{number}-", svg)
        for number, svg in enumerate(svgs)
    ]
