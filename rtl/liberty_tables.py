"""The authority for a liberty cell's tables: read in full, and reduced to straight lines and single energies."""

__all__ = ["INPUT_SLEW_PS", "energies", "line", "power_shares", "read_tables", "reduced"]

from collections.abc import Iterable, Iterator
from statistics import fmean, median

import numpy as np

from tetrit.hardware.cell_tables import CellTables, PowerArc, Sense, SetupArc, Table, TimingArc
from tetrit.hardware.technology import CellOutput
from tetrit.rtl import boolean
from tetrit.rtl.liberty_syntax import Group
from tetrit.rtl.liberty_units import Units

INPUT_SLEW_PS = 50.0
"""Our assumption: transition of input ports and of the clock; straight lines are those at the tabulated one nearest."""

_LOADS_FF = (1.0, 300.0)
_COMBINATIONAL = ("", "combinational", "combinational_rise", "combinational_fall")
_LAUNCHING = (*_COMBINATIONAL, "rising_edge", "falling_edge")
_SENSES: tuple[Sense, ...] = ("positive_unate", "negative_unate", "non_unate")


def read_tables(pins: dict[str, Group], clock: str, units: Units) -> CellTables:
    """Read the tables of a cell's pins.

    Arcs that launch an output are kept: of logic all, of a register those of its clock and not of clear and preset.
    A state under which a table holds (``when``) is not looked at: tables of the same pins are kept side by side.

    Parameters
    ----------
    pins : dict of str to Group
    clock : str
        Clock pin of a register; empty for logic.
    units : Units
    """
    timing: list[TimingArc] = []
    power: list[PowerArc] = []
    setup: list[SetupArc] = []
    for name, pin in pins.items():
        is_output = pin.get("direction").lower() == "output"
        for group in pin.all("timing"):
            kind = group.get("timing_type").lower()
            if is_output and kind in _LAUNCHING:
                timing.extend(_timing_arcs(name, pin, group, units))
            elif not is_output and kind in ("setup_rising", "setup_falling"):
                rise, fall = _pair(group, "rise_constraint", "fall_constraint", units.time_ps, units)
                setup.append(SetupArc(pin=name, rise=rise, fall=fall))
        for group in pin.all("internal_power"):
            power.extend(_power_arcs(name, is_output, group, clock, units))
    return CellTables(timing=tuple(timing), power=tuple(power), setup=tuple(setup))


def reduced(name: str, function: str, tables: CellTables) -> CellOutput:
    """Return an output with straight lines: at the slew nearest 50 ps, over loads from 1 to 300 fF."""
    arcs = [arc for arc in tables.timing if arc.output == name]

    def lines(arc: TimingArc, *kinds: str) -> list[tuple[float, float]]:
        return [line(table) for kind in kinds if (table := getattr(arc, kind)) is not None]

    delays = [fits for arc in arcs if (fits := lines(arc, "delay_rise", "delay_fall"))]
    transitions = [fits for arc in arcs if (fits := lines(arc, "slew_rise", "slew_fall"))]

    def mean(fits: list[list[tuple[float, float]]], part: int) -> float:
        return fmean(fit[part] for arc in fits for fit in arc) if fits else 0.0

    inside = [energy for _, energy in energies(tables, name)]
    return CellOutput(
        pin=name,
        function=function,
        delay_ps=mean(delays, 0),
        delay_worst_ps=max((fmean(fit[0] for fit in arc) for arc in delays), default=0.0),
        delay_ps_per_ff=mean(delays, 1),
        transition_ps=mean(transitions, 0),
        transition_ps_per_ff=mean(transitions, 1),
        energy_fj=max(0.0, fmean(inside)) if inside else 0.0,
    )


def energies(tables: CellTables, pin: str) -> list[tuple[str, float]]:
    """Return the energy per transition of a pin, by what makes it change.

    It is the median over loads, at the slew nearest 50 ps: the mean of the rising and the falling edge. Several tables
    of an edge count alike; an edge without one costs nothing.
    """
    return [
        (related, sum(share * median(row[_nearest(table)] for row in table.values) for table, share in shares))
        for related, shares in power_shares(tables, pin)
    ]


def power_shares(tables: CellTables, pin: str) -> list[tuple[str, list[tuple[Table, float]]]]:
    """Return, for each pin that makes `pin` change, its tables and the share of each in the energy of a transition."""
    found = []
    for related in dict.fromkeys(arc.related for arc in tables.power if arc.pin == pin):
        arcs = [arc for arc in tables.power if (arc.pin, arc.related) == (pin, related)]
        shares: list[tuple[Table, float]] = []
        for edge in ("rise", "fall"):
            of_edge = [table for arc in arcs if (table := getattr(arc, edge)) is not None]
            shares += [(table, 0.5 / len(of_edge)) for table in of_edge]
        found.append((related, shares))
    return found


def line(table: Table) -> tuple[float, float]:
    """Fit a straight line over loads: value without load, and slope per fF."""
    loads = np.array(table.x)
    values = np.array([row[_nearest(table)] for row in table.values])
    inside = (loads >= _LOADS_FF[0]) & (loads <= _LOADS_FF[1])
    if inside.sum() < 2:
        inside[:] = True
    if len(loads) < 2:
        return float(values[0]), 0.0
    slope, offset = np.polyfit(loads[inside], values[inside], 1)
    return float(offset), float(slope)


def _nearest(table: Table) -> int:
    return min(range(len(table.y)), key=lambda i: abs(table.y[i] - INPUT_SLEW_PS))


def _pair(group: Group, rise: str, fall: str, scale: float, units: Units) -> tuple[Table | None, Table | None]:
    """Return the tables of both edges, as far as they are there."""
    found = [next(iter(group.all(kind)), None) for kind in (rise, fall)]
    a, b = (None if table is None else units.table(table, scale) for table in found)
    return a, b


def _timing_arcs(output: str, pin: Group, group: Group, units: Units) -> Iterator[TimingArc]:
    """Yield the arcs of one timing group, one for each related pin."""
    delay_rise, delay_fall = _pair(group, "cell_rise", "cell_fall", units.time_ps, units)
    slew_rise, slew_fall = _pair(group, "rise_transition", "fall_transition", units.time_ps, units)
    for related in _related(group):
        yield TimingArc(
            output=output,
            pin=related,
            sense=_sense(group, pin, related),
            delay_rise=delay_rise,
            delay_fall=delay_fall,
            slew_rise=slew_rise,
            slew_fall=slew_fall,
        )


def _sense(group: Group, pin: Group, related: str) -> Sense:
    """Return the sense of an arc: as the file says, else as the function has it."""
    said = group.get("timing_sense").lower()
    function = pin.get("function")
    if said not in _SENSES and function and related in (names := boolean.names(function)):
        said = boolean.senses(function, names).get(related, "")
    return next((sense for sense in _SENSES if sense == said), "non_unate")


def _power_arcs(name: str, is_output: bool, group: Group, clock: str, units: Units) -> Iterator[PowerArc]:
    """Yield the energies of one group: of a register's output only those that its clock causes."""
    both = next(iter(group.all("power")), None)
    rise, fall = _pair(group, "rise_power", "fall_power", units.energy_fj, units)
    if both is not None:
        rise = fall = units.table(both, units.energy_fj)
    if rise is None and fall is None:
        return
    pins: Iterable[str] = _related(group) or ("",)
    for related in pins if is_output else ("",):
        if not (clock and related and related != clock):
            yield PowerArc(pin=name, related=related, rise=rise, fall=fall)


def _related(group: Group) -> list[str]:
    return group.get("related_pin").replace(",", " ").split()
