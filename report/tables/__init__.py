"""Every table of a report, by name: what the page shows, what `tetrit report export` writes, what each plot draws."""

__all__ = ["NOTHING", "Cell", "Column", "Table", "build", "compared"]

from collections.abc import Mapping
from typing import Any

from tetrit.report.tables import analog, cost, network, run
from tetrit.report.tables.compared import compared
from tetrit.report.tables.model import NOTHING, Cell, Column, Table


def build(report: Mapping[str, Any]) -> dict[str, Table]:
    """Return the tables that a report has numbers for, by name, in the order of the page.

    Parameters
    ----------
    report : mapping
        Plain report, see ``schema/report-v2.json``.

    Returns
    -------
    dict of str to Table
        Each with at least one row.

    Examples
    --------
    >>> from tetrit.report import tables
    >>> entry = {"name": "E", "value": 5.0, "unit": "pJ", "origin": "assumed", "source": "our assumption"}
    >>> tables.build({"figures": [entry]})["figures"].texts
    [['E', '5', 'pJ', 'assumed', 'our assumption']]
    """
    found: dict[str, Table] = {}
    for room in (network, cost, analog, run):
        found |= {table.name: table for table in room.tables(report) if table.columns[0].values}
    return found
