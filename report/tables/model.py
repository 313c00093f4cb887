"""What a table of a report is: named columns with raw values, and how people read each."""

__all__ = ["NOTHING", "Cell", "Column", "Table", "column", "total", "words"]

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tetrit.errors import InvalidValueError
from tetrit.report.numbers import percent, significant, unit

Cell = str | bool | int | float | None
"""A raw value; None where the report has none."""

NOTHING = "\N{EN DASH}"
"""What people read for None."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes
    ----------
    key : str
        Name in CSV and JSON, with the unit of the raw values; not empty.
    title : str
        Heading for people, with the unit that `show` gives.
    values : tuple of Cell
        Raw values, in base units and with all digits.
    show : callable
        Text of a raw value for people; never called for None.
    numeric : bool
        Whether values are numbers: set to the right, and sorted by size.
    prose : bool
        Whether texts may be long.
    """

    key: str
    title: str
    values: tuple[Cell, ...]
    show: Callable[[Cell], str]
    numeric: bool
    prose: bool = False

    def __post_init__(self) -> None:
        if not self.key:
            raise InvalidValueError("`key` must not be empty")

    def text(self, value: Cell) -> str:
        """Return what people read for a raw value."""
        return NOTHING if value is None else self.show(value)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns of equal length under one name; the first column names the rows.

    Attributes
    ----------
    name : str
        File name without its suffix, and id within the page: lower-case letters, digits, underscores.
    title : str
        Caption.
    columns : tuple of Column
        At least one.
    total : tuple of Cell
        The last row, in the order of the columns, None where there is nothing to add; empty for a table without it.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    total: tuple[Cell, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidValueError(f"`name` must be of lower-case letters, digits and underscores, got {self.name!r}")
        if not self.columns:
            raise InvalidValueError(f"`columns` of table '{self.name}' must not be empty")
        keys = [each.key for each in self.columns]
        if len(set(keys)) != len(keys):
            raise InvalidValueError(f"`columns` of table '{self.name}' must differ, got {', '.join(keys)}")
        if len({len(each.values) for each in self.columns}) > 1:
            raise InvalidValueError(f"`columns` of table '{self.name}' must have equal lengths")
        if self.total and len(self.total) != len(self.columns):
            raise InvalidValueError(f"`total` of table '{self.name}' must have a value for each column")

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        """The raw values, row by row, without the total."""
        return list(zip(*(each.values for each in self.columns), strict=True))

    @property
    def texts(self) -> list[list[str]]:
        """What people read, row by row, without the total."""
        return [[c.text(value) for c, value in zip(self.columns, row, strict=True)] for row in self.rows]

    @property
    def total_texts(self) -> list[str]:
        """The total as people read it, empty where there is nothing to add."""
        pairs = zip(self.columns, self.total, strict=True) if self.total else ()
        return ["" if value is None else value if isinstance(value, str) else c.show(value) for c, value in pairs]


def _share(value: Cell) -> str:
    return percent(float(value or 0.0), 1)


def _accuracy(value: Cell) -> str:
    return percent(float(value or 0.0))


def _count(value: Cell) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


_KINDS: Mapping[str, Callable[[Cell], str]] = {"count": _count, "share": _share, "accuracy": _accuracy}


def column(
    key: str,
    title: str,
    values: Iterable[Cell],
    kind: str = "number",
    *,
    digits: int = 4,
    largest: float | None = None,
) -> Column:
    """Return a column of numbers.

    Parameters
    ----------
    key, title : str
        See `Column`.
    values : iterable of Cell
        Raw values.
    kind : str
        ``number`` (`digits` significant digits), ``count``, ``share`` or ``accuracy`` (fractions, as per cent), or a
        base unit (``µJ``, ``mm²``, ``µm²``, ``µs``): then all are shown in the unit that suits the largest, which is
        added to the title.
    digits : int
        Significant digits of numbers and of amounts in a unit.
    largest : float or None
        What the unit is to suit instead, for columns that have one in common.
    """
    cells = tuple(values)
    if kind in _KINDS:
        return Column(key=key, title=title, values=cells, show=_KINDS[kind], numeric=True)
    factor = 1.0
    if kind != "number":
        found = (float(value) for value in cells if value is not None)
        factor, name = unit(max(found, default=0.0) if largest is None else largest, kind)
        title = f"{title}, {name}"
    return Column(key=key, title=title, values=cells, show=lambda value: _number(value, factor, digits), numeric=True)


def _number(value: Cell, factor: float, digits: int) -> str:
    return significant(float(value or 0.0) * factor, digits)


def words(key: str, title: str, values: Iterable[Cell], *, prose: bool = False) -> Column:
    """Return a column of texts."""
    return Column(key=key, title=title, values=tuple(values), show=str, numeric=False, prose=prose)


def total(columns: Sequence[Column], summed: Iterable[str], label: str = "total", **given: Cell) -> tuple[Cell, ...]:
    """Return the last row: `label`, the sums of the columns with the keys `summed`, and values that are `given`.

    A column with a value missing has no sum.
    """
    keys = set(summed)
    row: list[Cell] = [label]
    for each in columns[1:]:
        numbers = [value for value in each.values if isinstance(value, int | float)]
        if each.key in given:
            row.append(given[each.key])
        elif each.key in keys and len(numbers) == len(each.values):
            row.append(sum(numbers) if all(isinstance(n, int) for n in numbers) else math.fsum(numbers))
        else:
            row.append(None)
    return tuple(row)
