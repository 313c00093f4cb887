"""The authority for static timing: straight-line cell delays, an ideal clock, a wire load per fan-out."""

__all__ = ["PathStep", "Timing", "analyse", "logic_order"]

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tetrit.errors import InvalidValueError
from tetrit.rtl import _kernels, boolean
from tetrit.rtl.flat import FlatNetlist


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

    A cell's output changes ``delay_worst_ps + delay_ps_per_ff * load`` after its latest input, a register's that long
    after the clock edge; the clock is ideal, inputs change at the edge, and a register needs its data `setup_ps`
    before the next. Delays are those at 50 ps input slew, so long transitions are not seen.

    Parameters
    ----------
    flat : FlatNetlist
        The design.

    Returns
    -------
    Timing
        The longest path; 0 ns where there is none.
    """
    technology = flat.technology
    order = logic_order(flat)
    outputs = [output for cell in technology.cells for output in cell.outputs]
    first = np.cumsum([0, *(len(cell.outputs) for cell in technology.cells)])
    n_out = np.diff(flat.out_start)
    kinds = (
        np.repeat(first[flat.cell_type], n_out) + np.arange(len(flat.out_nets)) - np.repeat(flat.out_start[:-1], n_out)
    )
    intrinsic = np.array([output.delay_worst_ps for output in outputs])[kinds]
    slope = np.array([output.delay_ps_per_ff for output in outputs])[kinds]
    delay_ps = intrinsic + slope * flat.load_ff[flat.out_nets]
    arrival = np.full(flat.n_nets, -np.inf)
    arrival[flat.is_port_net] = 0.0
    launching = np.repeat(flat.gather([cell.role == "flop" for cell in technology.cells]), n_out)
    arrival[flat.out_nets[launching]] = delay_ps[launching]
    before = _kernels.arrivals(order, flat.in_start, flat.in_nets, flat.out_start, flat.out_nets, delay_ps, arrival)
    ends = list(_ends(flat, arrival))
    if not ends:
        return Timing(delay_ns=0.0, path=(), end="")
    delay, net, end = max(ends, key=lambda item: item[0])
    return Timing(delay_ns=delay / 1000, path=_path(flat, before, arrival, net), end=end)


def _ends(flat: FlatNetlist, arrival: NDArray[np.float64]) -> Iterator[tuple[float, int, str]]:
    """Yield (required time, net, name) of the latest end of each kind."""
    for name, nets in flat.outputs.items():
        latest = int(np.argmax(arrival[nets]))
        if np.isfinite(arrival[nets[latest]]):
            yield float(arrival[nets[latest]]), int(nets[latest]), f"{name}[{latest}]" if len(nets) > 1 else name
    setup = flat.technology.setup_ps
    for kind, cell in enumerate(flat.technology.cells):
        if cell.role not in ("flop", "clock_gate"):
            continue
        found = np.flatnonzero(flat.cell_type == kind)
        for pin in dict.fromkeys(boolean.names(cell.data)) if len(found) else ():
            nets = flat.in_nets[flat.in_start[found] + cell.pins.index(pin)]
            latest = int(np.argmax(arrival[nets]))
            if np.isfinite(arrival[nets[latest]]):
                yield (
                    float(arrival[nets[latest]]) + setup,
                    int(nets[latest]),
                    f"{flat.cell_name(int(found[latest]))}.{pin}",
                )


def _path(flat: FlatNetlist, before: NDArray[np.int32], arrival: NDArray[np.float64], net: int) -> tuple[PathStep, ...]:
    """Follow a path back to its start and name its nets."""
    sources = np.full(flat.n_nets, -1, dtype=np.int64)
    sources[flat.out_nets] = np.arange(len(flat.out_nets))
    inputs = {
        int(n): f"{port}[{i}]" if len(nets) > 1 else port
        for port, nets in flat.inputs.items()
        for i, n in enumerate(nets)
    }
    steps: list[PathStep] = []
    while net >= 0:
        source = int(sources[net])
        at = float(arrival[net]) / 1000
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
        net = int(before[net])
    return tuple(reversed(steps))
