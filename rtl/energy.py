"""The authority for what switching costs: toggles and clock edges of a netlist priced by its library's cells."""

__all__ = ["Energy", "cell_energies_fj", "price", "require_energy"]

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.hardware.technology import Technology
from tetrit.rtl import tables
from tetrit.rtl.flat import FlatNetlist
from tetrit.rtl.liberty_syntax import LibertyError
from tetrit.rtl.liberty_tables import INPUT_SLEW_PS, power_shares
from tetrit.rtl.timing import logic_order

Floats = NDArray[np.float64]
_KINDS = ("logic", "registers", "inputs", "clock", "leakage")
_SHOWN = 3
"""Cells that an error names."""


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Energy per cycle of a simulated netlist.

    Attributes
    ----------
    total_pj : float
        Sum of `by_kind`, and of `by_module`.
    by_kind : mapping of str to float
        Picojoules per cycle of ``"logic"`` and ``"registers"`` (inside the cells whose pins toggle, and the load on
        their outputs), ``"inputs"`` (load on the design's input ports), ``"clock"`` (clock pins, their wire, what
        registers dissipate at them, clock gates) and ``"leakage"``.
    by_module : mapping of str to float
        The same by the module whose cell drives the net, or dissipates; input ports belong to the top module. All
        instances together.
    """

    total_pj: float
    by_kind: Mapping[str, float]
    by_module: Mapping[str, float]


def price(
    flat: FlatNetlist,
    toggles: NDArray[np.int64],
    ticks: NDArray[np.int64],
    clock_of: NDArray[np.int64],
    n_cycles: int,
    period_ns: float,
) -> Energy:
    """Return the energy per cycle of counted toggles and clock edges.

    Parameters
    ----------
    flat : FlatNetlist
        The netlist.
    toggles : int64 array, shape (n_nets,)
        Changes of each net but clocks.
    ticks, clock_of : int64 array
        Edges of each clock, and the clock of each cell, as in `Activity`.
    n_cycles : int
        Cycles in which they were counted.
    period_ns : float
        Over which cells leak, per cycle.

    Raises
    ------
    LibertyError
        If the library does not state energy or leakage of a cell in the netlist.
    """
    used = {flat.technology.cells[kind].name for kind in np.unique(flat.cell_type).tolist()}
    _refuse(flat.technology, [name for name in flat.technology.unpriced if name in used])
    n_modules = len(flat.module_names)
    cells = flat.technology.cells
    half_square = 0.5 * flat.technology.voltage_v**2
    kinds: dict[str, Floats] = {kind: np.zeros(n_modules) for kind in _KINDS}
    kinds["inputs"][-1] = (toggles * half_square * flat.load_ff)[flat.is_port_net].sum()
    switched, clocked = cell_energies_fj(flat, toggles, ticks, clock_of)
    is_flop = flat.gather([cell.role == "flop" for cell in cells])
    leakage = flat.gather([cell.leakage_nw for cell in cells]) * period_ns * 1e-3 * n_cycles
    for kind, fj in (
        ("logic", np.where(is_flop, 0.0, switched)),
        ("registers", np.where(is_flop, switched, 0.0)),
        ("clock", clocked),
        ("leakage", leakage),
    ):
        kinds[kind] += np.bincount(flat.owner, weights=fj, minlength=n_modules)
    per_cycle = {kind: values / n_cycles / 1000 for kind, values in kinds.items()}
    by_kind = {kind: float(values.sum()) for kind, values in per_cycle.items()}
    modules = sum(per_cycle.values(), np.zeros(n_modules))
    return Energy(
        total_pj=sum(by_kind.values()),
        by_kind=MappingProxyType(by_kind),
        by_module=MappingProxyType(dict(zip(flat.module_names, modules.tolist(), strict=True))),
    )


def cell_energies_fj(
    flat: FlatNetlist, toggles: NDArray[np.int64], ticks: NDArray[np.int64], clock_of: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return what each cell cost in all cycles together, in femtojoules.

    Returns
    -------
    switched : float64 array, shape (n_cells,)
        Toggles of its outputs, with their loads, and of its input pins.
    clocked : float64 array, shape (n_cells,)
        Clock edges at its clock pin, with the wire to it, and what an open clock gate dissipates.
    """
    out_fj, in_fj = _by_tables(flat, toggles, ticks, clock_of) if flat.technology.tables else _by_lines(flat)
    cells = flat.technology.cells
    half_square = 0.5 * flat.technology.voltage_v**2
    outputs = (toggles * half_square * flat.load_ff)[flat.out_nets] + toggles[flat.out_nets] * out_fj
    numbers = np.arange(flat.n_cells)
    switched: Floats = np.zeros(flat.n_cells)
    switched += np.bincount(np.repeat(numbers, np.diff(flat.out_start)), weights=outputs, minlength=flat.n_cells)
    switched += np.bincount(
        np.repeat(numbers, np.diff(flat.in_start)), weights=toggles[flat.in_nets] * in_fj, minlength=flat.n_cells
    )
    clocked = np.zeros(flat.n_cells)
    wire = flat.technology.wire_cap_ff_per_fanout
    found = np.flatnonzero(clock_of >= 0)
    pin = flat.gather([cell.pins.index(cell.clock_pin) if cell.clock else 0 for cell in cells])[found]
    caps = flat.gather([cell.cap_ff(cell.clock_pin) + wire if cell.clock else 0.0 for cell in cells])[found]
    transitions = 2 * ticks[clock_of[found]]
    clocked[found] = transitions * half_square * caps + transitions * in_fj[flat.in_start[found] + pin]
    gates = np.flatnonzero(flat.gather([cell.role == "clock_gate" for cell in cells]))
    clocked[gates] += 2 * ticks[1:] * out_fj[flat.out_start[gates]]
    return switched, clocked


def require_energy(technology: Technology) -> None:
    """Refuse a library that can price no cell at all, before anything is mapped to it.

    Raises
    ------
    LibertyError
        It states no internal power, or no leakage, of any cell.
    """
    if len(technology.unpriced) == len(technology.cells):
        _refuse(technology, list(technology.unpriced))


def _refuse(technology: Technology, missing: list[str]) -> None:
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise LibertyError(
            f"{technology.source} states no internal power or no leakage of {', '.join(missing[:_SHOWN])}{more}: "
            "area and timing can be computed with it, energy cannot"
        )


def _by_lines(flat: FlatNetlist) -> tuple[Floats, Floats]:
    """Return the energy inside in fJ per transition of each output and each input of each cell, by single figures."""
    cells = flat.technology.cells
    outputs = np.array([output.energy_fj for cell in cells for output in cell.outputs] or [0.0])
    inputs = np.array([dict(cell.input_energy_fj).get(pin, 0.0) for cell in cells for pin in cell.pins] or [0.0])
    return outputs[flat.out_kind], inputs[flat.in_kind]


def _by_tables(
    flat: FlatNetlist, toggles: NDArray[np.int64], ticks: NDArray[np.int64], clock_of: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the same by full tables, at each output's load and each pin's transition.

    An output's energy depends on which pin made it change, which toggles do not tell: the pins count by their own
    toggles, as is usual (OpenSTA's `Power::findOutputInternalPower` does so), or alike where none toggles.
    """
    _, slew, _ = tables.propagate(flat, logic_order(flat))
    slews = slew.mean(axis=0)
    slews[slews == 0] = INPUT_SLEW_PS
    out_fj, in_fj = np.zeros(len(flat.out_nets)), np.zeros(len(flat.in_nets))
    for kind, (cell, of_cell) in enumerate(zip(flat.technology.cells, flat.technology.tables, strict=True)):
        found = np.flatnonzero(flat.cell_type == kind)
        if not len(found):
            continue
        ideal = np.full(len(found), INPUT_SLEW_PS)
        changes: dict[str, NDArray[Any]] = {}
        shapes = {"": ideal}
        for place, pin in enumerate(cell.pins):
            nets = flat.in_nets[flat.in_start[found] + place]
            is_clock = cell.role != "logic" and pin == cell.clock_pin
            shapes[pin] = ideal if is_clock else slews[nets]
            changes[pin] = 2 * ticks[clock_of[found]] if is_clock else toggles[nets]
            for _, shares in power_shares(of_cell, pin):
                for table, share in shares:
                    in_fj[flat.in_start[found] + place] += share * tables.at(table, np.zeros(len(found)), shapes[pin])
        for place, output in enumerate(cell.outputs):
            places = flat.out_start[found] + place
            load = flat.load_ff[flat.out_nets[places]]
            changes[""] = toggles[flat.out_nets[places]]
            energies, weights = [], []
            for related, shares in power_shares(of_cell, output.pin):
                shape = shapes.get(related, ideal)
                energies.append(sum((share * tables.at(table, load, shape) for table, share in shares), np.zeros(1)))
                weights.append(changes.get(related, changes[""]))
            if energies:
                weight = np.array(weights, dtype=np.float64)
                weight[:, weight.sum(axis=0) == 0] = 1.0
                out_fj[places] = np.average(energies, axis=0, weights=weight)
    return out_fj, in_fj
