"""What a published table is made of."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a published table.

    Attributes:
      labels: what it is about, one text per label column of its table.
      values: one per value column; None where nothing is printed.
      wants: facts of a run that repeats it, by the names of `runs.Run.facts`; None: no
        run does.
    """

    labels: tuple[str, ...]
    values: tuple[int | float | None, ...]
    wants: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """A figure of a table.

    Attributes:
      title: as printed above it.
      metric: its name in results; "" if a run has none.
      unit: "share", "percent" (of what results hold as a share), "count", "KB" or
        "minutes".
    """

    title: str
    metric: str
    unit: str = "share"


@dataclasses.dataclass(frozen=True)
class PublishedTable:
    """A published table: label columns, value columns, rows, and what to know of it."""

    title: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class ClassWeights:
    """alpha of the focal loss, by class, where it was printed (Tables 7 and 10)."""

    table: str
    dataset: str
    alpha: Mapping[str, float]
