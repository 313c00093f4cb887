"""Tables of how two reports differ, one for each group of differences."""

__all__ = ["compared", "short"]

from collections.abc import Sequence
from typing import Any

from tetrit.report.difference import GROUPS, Difference
from tetrit.report.tables.model import Cell, Column, Table, words

_TITLES = dict(
    zip(GROUPS, ("Configuration", "Summary", "Further figures", "Single values of curves and counts"), strict=True)
)


def compared(found: Sequence[Difference]) -> dict[str, Table]:
    """Return the tables of differences by group, those without any left out.

    Parameters
    ----------
    found : sequence of Difference
        See `tetrit.report.differences`.
    """
    tables = {}
    for group in GROUPS:
        rows = [each for each in found if each.group == group]
        if rows:
            columns = (
                words("place", "place", [each.place for each in rows], prose=True),
                _values("before", "A", [each.before for each in rows]),
                _values("after", "B", [each.after for each in rows]),
                words("change", "change", [each.change for each in rows]),
            )
            tables[group] = Table(name=group, title=f"{_TITLES[group]}: {len(rows):,}", columns=columns)
    return tables


def _values(key: str, title: str, values: Sequence[Any]) -> Column:
    numeric = all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)
    cells: tuple[Cell, ...] = tuple(short(value) if isinstance(value, dict | list) else value for value in values)
    return Column(key=key, title=title, values=cells, show=short, numeric=numeric, prose=not numeric)


def short(value: Any) -> str:
    """Return fractions with 6 significant digits, whole blocks as the number of their entries, all else as it is."""
    if isinstance(value, dict | list) and value:
        return f"({len(value):,} entr{'y' if len(value) == 1 else 'ies'})"
    return f"{value:,.6g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
