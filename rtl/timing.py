"""The authority for static timing: cell delays by full tables or straight lines, an ideal clock, wire per fan-out."""

__all__ = ["PathStep", "Timing", "analyse", "logic_order"]

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.errors import InvalidValueError
from tetrit.rtl import _kernels, boolean, tables
from tetrit.rtl.flat import FlatNetlist
from tetrit.rtl.liberty_tables import INPUT_SLEW_PS

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """One hop of a path.

    Attributes
    ----------
    net : str
        The net that changes.
    cell : str
        Name of the cell that drives it; empty for an input of the design.
    cell_type : str
        That cell's type; empty for an input.
    arrival_ns : float
        When the net changes, after the clock edge.
    """

    net: str
    cell: str
    cell_type: str
    arrival_ns: float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Result of `analyse`.

    Attributes
    ----------
    delay_ns : float
        Length of the longest path, including clock-to-output at its start and setup at its end where these are
        registers.
    path : tuple of PathStep
        Its nets from start to end.
    end : str
        Where it ends: a pin of a register or clock gate, or an output of the design.
    """

    delay_ns: float
    path: tuple[PathStep, ...]
    end: str


def logic_order(flat: FlatNetlist) -> NDArray[np.int32]:
    """Return the logic cells in topological order.

    Raises
    ------
    InvalidValueError
        If there is a combinational loop, or a latch outside a clock gate.
    """
    roles = [cell.role for cell in flat.technology.cells]
    if np.any(flat.gather([role == "latch" for role in roles])):
        raise InvalidValueError("the netlist holds latches: only flip-flops and clock gates are supported")
    is_logic = flat.gather([role == "logic" for role in roles])
    order = _kernels.topological_order(
        is_logic, flat.in_start, flat.in_nets, flat.out_start, flat.out_nets, flat.n_nets
    )
    if len(order) < int(is_logic.sum()):
        stuck = np.setdiff1d(np.flatnonzero(is_logic), order)[0]
        raise InvalidValueError(f"the netlist has a combinational loop through cell '{flat.cell_name(int(stuck))}'")
    return order


def analyse(flat: FlatNetlist) -> Timing:
    """Find the longest path.

    By full tables, where the technology has them: each arc's delay and transition at the load of its output and the
    transition of its pin, rising and falling edges apart, and the library's own setup times. Else by straight lines: a
    cell's output changes ``delay_worst_ps + delay_ps_per_ff * load`` after its latest input, whatever the transitions,
    and a register needs its data `setup_ps` before the clock. Either way the clock is ideal, and inputs change at its
    edge, in 50 ps.

    Parameters
    ----------
    flat : FlatNetlist
        The design.

    Returns
    -------
    Timing
        The longest path; 0 ns where there is none.
    """
    order = logic_order(flat)
    if flat.technology.tables:
        arrival, slew, before = tables.propagate(flat, order)
    else:
        arrival, before = _by_lines(flat, order)
        slew = None
    ends = list(_ends(flat, arrival, slew))
    if not ends:
        return Timing(delay_ns=0.0, path=(), end="")
    delay, node, end = max(ends, key=lambda item: item[0])
    return Timing(delay_ns=delay / 1000, path=_path(flat, before.ravel(), arrival.ravel(), node), end=end)


def _by_lines(flat: FlatNetlist, order: NDArray[np.int32]) -> tuple[Floats, NDArray[Any]]:
    """Return arrival times in ps of both edges together, and what decided them, both of shape (1, n_nets)."""
    technology = flat.technology
    outputs = [output for cell in technology.cells for output in cell.outputs]
    intrinsic = np.array([output.delay_worst_ps for output in outputs])[flat.out_kind]
    slope = np.array([output.delay_ps_per_ff for output in outputs])[flat.out_kind]
    delay_ps = intrinsic + slope * flat.load_ff[flat.out_nets]
    arrival = np.full(flat.n_nets, -np.inf)
    arrival[flat.is_port_net] = 0.0
    launching = np.repeat(flat.gather([cell.role == "flop" for cell in technology.cells]), np.diff(flat.out_start))
    arrival[flat.out_nets[launching]] = delay_ps[launching]
    before = _kernels.arrivals(order, flat.in_start, flat.in_nets, flat.out_start, flat.out_nets, delay_ps, arrival)
    return arrival[np.newaxis], before[np.newaxis]


def _ends(flat: FlatNetlist, arrival: Floats, slew: Floats | None) -> Iterator[tuple[float, int, str]]:
    """Yield (required time, edge * n_nets + net, name) of the latest end of each kind."""

    def latest(nets: NDArray[np.int32], setup: Floats) -> tuple[float, int, int]:
        times = arrival[:, nets] + setup
        edge, place = divmod(int(np.argmax(times)), len(nets))
        return float(times[edge, place]), edge * flat.n_nets + int(nets[place]), place

    nothing = np.zeros((len(arrival), 1))
    for name, nets in flat.outputs.items():
        time, node, place = latest(nets, nothing)
        if np.isfinite(time):
            yield time, node, f"{name}[{place}]" if len(nets) > 1 else name
    for kind, cell in enumerate(flat.technology.cells):
        if cell.role not in ("flop", "clock_gate"):
            continue
        found = np.flatnonzero(flat.cell_type == kind)
        for pin in dict.fromkeys(boolean.names(cell.data)) if len(found) else ():
            nets = flat.in_nets[flat.in_start[found] + cell.pins.index(pin)]
            time, node, place = latest(nets, _setup(flat, kind, pin, nets, slew))
            if np.isfinite(time):
                yield time, node, f"{flat.cell_name(int(found[place]))}.{pin}"


def _setup(flat: FlatNetlist, kind: int, pin: str, nets: NDArray[np.int32], slew: Floats | None) -> Floats:
    """Return setup times in ps of a cell type's pin at each net, edges in rows: by tables, else the assumption."""
    rows = 1 if slew is None else len(slew)
    setup = np.full((rows, len(nets)), flat.technology.setup_ps)
    arcs = [arc for arc in flat.technology.tables[kind].setup if arc.pin == pin] if slew is not None else []
    clock = np.full(len(nets), INPUT_SLEW_PS)
    for edge in range(rows):
        of_edge = [table for arc in arcs if (table := (arc.rise, arc.fall)[edge]) is not None]
        if of_edge and slew is not None:
            setup[edge] = np.max([tables.at(table, clock, slew[edge, nets]) for table in of_edge], axis=0)
    return setup


def _path(flat: FlatNetlist, before: NDArray[Any], arrival: Floats, node: int) -> tuple[PathStep, ...]:
    """Follow a path back to its start and name its nets."""
    sources = np.full(flat.n_nets, -1, dtype=np.int64)
    sources[flat.out_nets] = np.arange(len(flat.out_nets))
    inputs = {
        int(n): f"{port}[{i}]" if len(nets) > 1 else port
        for port, nets in flat.inputs.items()
        for i, n in enumerate(nets)
    }
    steps: list[PathStep] = []
    while node >= 0:
        net = node % flat.n_nets
        source = int(sources[net])
        at = float(arrival[node]) / 1000
        if source < 0:
            steps.append(PathStep(net=inputs.get(net, "constant"), cell="", cell_type="", arrival_ns=at))
            break
        cell = int(np.searchsorted(flat.out_start, source, side="right")) - 1
        steps.append(
            PathStep(
                net=flat.output_name(cell, source - int(flat.out_start[cell])),
                cell=flat.cell_name(cell),
                cell_type=flat.cell(cell).name,
                arrival_ns=at,
            )
        )
        node = int(before[node])
    return tuple(reversed(steps))
