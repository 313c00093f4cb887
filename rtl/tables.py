"""The authority for full tables on a netlist: values between their points, arrival times and transitions by them."""

__all__ = ["at", "propagate"]

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tetrit.hardware.cell_tables import Table, TimingArc
from tetrit.hardware.technology import Cell
from tetrit.rtl import _kernels
from tetrit.rtl.flat import FlatNetlist
from tetrit.rtl.liberty_tables import INPUT_SLEW_PS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_Arcs = tuple[Ints, Ints, Ints, Ints, Ints, Ints]
_Packed = tuple[Floats, Ints, Floats, Ints, Floats]
_EDGES = {
    "positive_unate": ((0, 0), (1, 1)),
    "negative_unate": ((1, 0), (0, 1)),
    "non_unate": ((0, 0), (1, 0), (0, 1), (1, 1)),
}
"""Edges of the pin and of the output, 0 rising and 1 falling, that go together."""


def at(table: Table, x: Floats, y: Floats) -> Floats:
    """Return a table's values at each ``(x[k], y[k])``: linear between its points, and beyond along the last two.

    Examples
    --------
    >>> table = Table(x=(0.0, 10.0), y=(50.0,), values=((1.0,), (2.0,)))
    >>> at(table, np.array([5.0, 20.0]), np.array([50.0, 400.0])).tolist()
    [1.5, 3.0]
    """
    return _kernels.interpolate(np.zeros(len(x), dtype=np.int64), x, y, *_packed([table]))


def propagate(flat: FlatNetlist, order: NDArray[np.int32]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return arrival times and transitions by the full tables of a netlist's technology, and what decided them.

    Each arc of each cell is looked up at the load of its output and the transition of its pin; the latest arrival and
    the slowest transition win, wherever they come from. Input ports and the clock change in `INPUT_SLEW_PS`.

    Parameters
    ----------
    flat : FlatNetlist
        A netlist whose technology has tables.
    order : int32 array
        Its logic cells, each after those that drive it.

    Returns
    -------
    arrival, slew : float64 array, shape (2, n_nets)
        Of rising and falling edges, in picoseconds; -inf where nothing arrives.
    before : int64 array, shape (2, n_nets)
        ``edge * n_nets + net`` that decided the arrival; -1 at a start.
    """
    arrival = np.full((2, flat.n_nets), -np.inf)
    slew = np.zeros((2, flat.n_nets))
    before = np.full((2, flat.n_nets), -1, dtype=np.int64)
    arrival[:, flat.is_port_net], slew[:, flat.is_port_net] = 0.0, INPUT_SLEW_PS
    flops = np.flatnonzero(flat.gather([cell.role == "flop" for cell in flat.technology.cells])).astype(np.int32)
    arcs, packed = _arcs(flat)
    for cells, launch in ((flops, True), (order, False)):
        _kernels.propagate(
            cells,
            launch,
            INPUT_SLEW_PS,
            flat.in_start,
            flat.in_nets,
            flat.out_start,
            flat.out_nets,
            flat.out_kind,
            flat.load_ff,
            *arcs,
            *packed,
            arrival,
            slew,
            before,
        )
    return arrival, slew, before


def _arcs(flat: FlatNetlist) -> tuple[_Arcs, _Packed]:
    """Return the arcs of each output of each cell type (start, pin, edges in and out, tables), and the tables."""
    technology = flat.technology
    used = set(np.unique(flat.cell_type).tolist())
    starts: list[int] = [0]
    rows: list[tuple[int, int, int, Table, Table | None]] = []
    for number, (cell, tables) in enumerate(zip(technology.cells, technology.tables, strict=True)):
        for output in cell.outputs:
            if number in used:
                rows += (row for arc in tables.timing if arc.output == output.pin for row in _rows(arc, cell))
            starts.append(len(rows))
    places: dict[int, int] = {}
    distinct: list[Table] = []

    def place(table: Table | None) -> int:
        if table is None:
            return -1
        if id(table) not in places:
            places[id(table)] = len(distinct)
            distinct.append(table)
        return places[id(table)]

    columns = np.array([(*row[:3], place(row[3]), place(row[4])) for row in rows], dtype=np.int64).reshape(-1, 5).T
    pin, edge, to, delay, slew = (np.ascontiguousarray(column) for column in columns)
    return (np.array(starts, dtype=np.int64), pin, edge, to, delay, slew), _packed(distinct)


def _rows(arc: TimingArc, cell: Cell) -> Iterator[tuple[int, int, int, Table, Table | None]]:
    """Yield pin, edges, delay and transition of an arc; a register's start at the rising edge of its clock."""
    if arc.pin not in cell.pins:
        return
    for edge, to in ((0, 0), (0, 1)) if cell.role == "flop" else _EDGES[arc.sense]:
        delay, slew = ((arc.delay_rise, arc.slew_rise), (arc.delay_fall, arc.slew_fall))[to]
        if delay is not None:
            yield cell.pins.index(arc.pin), edge, to, delay, slew


def _packed(tables: list[Table]) -> _Packed:
    """Return axes, their lengths, and values of tables as arrays, filled up with zeros."""
    n_x = np.array([len(table.x) for table in tables] or [1], dtype=np.int64)
    n_y = np.array([len(table.y) for table in tables] or [1], dtype=np.int64)
    xs, ys = np.zeros((len(n_x), n_x.max())), np.zeros((len(n_y), n_y.max()))
    values = np.zeros((len(n_x), n_x.max(), n_y.max()))
    for number, table in enumerate(tables):
        xs[number, : len(table.x)] = table.x
        ys[number, : len(table.y)] = table.y
        values[number, : len(table.x), : len(table.y)] = table.values
    return xs, n_x, ys, n_y, values
