"""A part of a report, before it is HTML or Markdown."""

import dataclasses

from aemjax.report.tables import Table


@dataclasses.dataclass
class Section:
    """A part of a report, in the order in which it is shown.

    Attributes:
      title: of the section.
      about: (name, text) pairs.
      warning: printed where it is seen; "": none.
      lines: paragraphs.
      tables: in their order.
      figures: (caption, <svg> element).
      remarks: paragraphs behind them.
      parts: sections within.
      run: name of the run that it is about, for links to it.
    """

    title: str
    about: tuple[tuple[str, str], ...] = ()
    warning: str = ""
    lines: list[str] = dataclasses.field(default_factory=list)
    tables: list[Table] = dataclasses.field(default_factory=list)
    figures: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)
    parts: list["Section"] = dataclasses.field(default_factory=list)
    run: str = ""
