"""The authority for how a generated table is written: Markdown in a page between marks, and CSV with every origin."""

__all__ = ["Column", "Row", "Table", "csv_text", "markdown", "replaced"]

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tetrit.errors import InvalidValueError
from tetrit.sim.cost.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of figures.

    Attributes
    ----------
    key, title : str
        Name in the CSV, and head in Markdown.
    form : str
        How a figure is written in Markdown, as `format` takes it.
    """

    key: str
    title: str
    form: str = ",.0f"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row.

    Attributes
    ----------
    names : tuple of str
        What it is of; one entry for each of the table's heads.
    figures : mapping of str to Figure
        By column; those that do not apply are absent.
    """

    names: tuple[str, ...]
    figures: Mapping[str, Figure]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with what follows from it.

    Attributes
    ----------
    name : str
        Of its CSV, and of its marks in the page.
    heads : tuple of str
        Heads of the columns that say what a row is of.
    columns : tuple of Column
        Of figures.
    rows : sequence of Row
        In order.
    notes : sequence of str
        Lines below it, computed from it; Markdown.
    """

    name: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())


def markdown(table: Table) -> str:
    """Return the table and its notes as Markdown."""
    lines = [
        f"| {' | '.join((*table.heads, *(column.title for column in table.columns)))} |",
        "|---" * len(table.heads) + "|---:" * len(table.columns) + "|",
    ]
    for row in table.rows:
        cells = [
            format(row.figures[column.key].value, column.form) if column.key in row.figures else ""
            for column in table.columns
        ]
        lines.append(f"| {' | '.join((*row.names, *cells))} |")
    if table.notes:
        lines += ["", *table.notes]
    return "\n".join(lines) + "\n"


def csv_text(table: Table) -> str:
    """Return every figure of the table in a line of its own, with unit, origin and source."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(head.replace(" ", "_") for head in table.heads), "figure", "value", "unit", "origin", "source"])
    for row in table.rows:
        for column in table.columns:
            figure = row.figures.get(column.key)
            if figure is not None:
                value = f"{figure.value:.6g}"
                writer.writerow([*row.names, column.key, value, figure.unit, figure.origin, figure.source])
    return out.getvalue()


def replaced(page: str, name: str, content: str) -> str:
    """Return a page with the part between the marks of `name` replaced.

    Raises
    ------
    InvalidValueError
        If the page does not have both marks once, in their order.
    """
    begin, end = f"<!-- table {name} -->\n", f"<!-- end of {name} -->\n"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise InvalidValueError(f"the page must have '{begin.strip()}' and, below it, '{end.strip()}', each once")
    before, rest = page.split(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"
