"""Writes a report: report.html, which needs no other file, and report.md."""

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from aemjax import __version__
from aemjax.data.folders import AnyPath, as_path, write_text
from aemjax.report.inputs import read_folders
from aemjax.report.section import Section
from aemjax.report.sections import all_sections
from aemjax.report.svg import make_names_unique
from aemjax.report.tables import escape_markdown

HTML, MARKDOWN = "report.html", "report.md"
TITLE = "Runs of aemjax"
# Of a cell: a number, a mean with its deviation or interval, or a range.
NUMBER = re.compile(r"-?\d[\d.,e-]*( %)?($|\s(±|\(|to\s))")


def write_report(
    folders: Sequence[str | Path], out: str | AnyPath, *, maps: bool = True
) -> tuple[AnyPath, AnyPath]:
    """Writes both files into `out`, which is made; returns their paths.

    Args:
      folders: of finished runs and sweeps, in any order.
      maps: draw the clips that each run evaluates, by what its model makes of them:
        the only part that takes long.

    Raises:
      ValueError: if a folder is neither, or is not finished; nothing is written.
      OSError: if a file cannot be written.
    """
    sections = all_sections(*read_folders(folders), maps=maps)
    texts = {HTML: to_html(sections), MARKDOWN: to_markdown(sections)}
    out = as_path(out)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(out / name, text)
    return out / HTML, out / MARKDOWN


def to_html(sections: Sequence[Section]) -> str:
    """One page; its figures are within."""
    every = list(_walk(sections))
    anchors = {id(s): f"s{number}-{_slug(s.title)}" for number, s in enumerate(every)}
    drawn = iter(make_names_unique([svg for s in every for _, svg in s.figures]))
    figures = {
        id(s): [(caption, Markup(next(drawn))) for caption, _ in s.figures]
        for s in every
    }
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    source = resources.files("aemjax.report") / "templates" / "report.html.jinja"
    return environment.from_string(source.read_text("utf-8")).render(
        title=TITLE,
        version=__version__,
        sections=sections,
        anchor=lambda section: anchors[id(section)],
        figures=lambda section: figures[id(section)],
        runs={s.run: anchors[id(s)] for s in every if s.run},
        is_number=_is_number,
        has_numbers=lambda table, place: any(_is_number(r[place]) for r in table.rows),
    )


def to_markdown(sections: Sequence[Section]) -> str:
    """The same texts and tables, without figures."""
    return "\n\n".join([f"# {TITLE}", *_markdown(sections, 2)]) + "\n"


def _markdown(sections: Sequence[Section], level: int) -> Iterator[str]:
    for section in sections:
        yield f"{'#' * level} {escape_markdown(section.title)}"
        if section.about:
            yield "\n".join(
                f"- {name}: {escape_markdown(text)}" for name, text in section.about
            )
        if section.warning:
            yield f"> **Note.** {escape_markdown(section.warning)}"
        yield from map(escape_markdown, section.lines)
        for table in section.tables:
            if table.title:
                yield f"**{escape_markdown(table.title)}**"
            yield table.markdown()
            if table.note:
                yield escape_markdown(table.note)
        yield from map(escape_markdown, section.remarks)
        yield from _markdown(section.parts, level + 1)


def _walk(sections: Sequence[Section]) -> Iterator[Section]:
    for section in sections:
        yield section
        yield from _walk(section.parts)


def _is_number(cell: str) -> bool:
    return NUMBER.match(cell) is not None


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
