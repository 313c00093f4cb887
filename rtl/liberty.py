"""The authority for what a liberty file means: any library read into a `Technology`."""

__all__ = ["gates", "plain_flop", "read"]

import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median

import numpy as np

from tetrit.errors import InvalidValueError
from tetrit.hardware.technology import Cell, CellOutput, Technology
from tetrit.rtl import boolean
from tetrit.rtl.liberty_syntax import Group, LibertyError, parse_groups

INPUT_SLEW_PS = 50.0
_LOADS_FF = (1.0, 300.0)
_PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_COMBINATIONAL = ("", "combinational", "combinational_rise", "combinational_fall")
_LAUNCHING = (*_COMBINATIONAL, "rising_edge", "falling_edge")
_GATES = ("latch_posedge", "latch_posedge_precontrol", "latch_posedge_postcontrol")


def read(path: str | Path) -> Technology:
    """Read a liberty file.

    Tables are reduced to straight lines, as in the embedded libraries: at the tabulated input slew nearest 50 ps,
    fitted over loads from 1 to 300 fF. Cells that cannot be used here (buses, three-state, several states, over 6
    inputs, logic whose delay does not grow with its load, ``dont_use``) are left out.
    Wire load and setup time are the assumptions of the embedded library, since liberty tables of wires are rarely real.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Technology
        The cells; `node_nm` is 0, unknown.

    Raises
    ------
    LibertyError
        If there is no such file, it is corrupt, or it lacks a cell that synthesis needs (an inverter, a buffer, a
        NAND2 or NOR2, a rising-edge flip-flop); the text names file and line.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise LibertyError(f"liberty file '{path}' cannot be read: {error.strerror}") from None
    library = parse_groups(text, str(path))
    units = _Units(library, str(path))
    cells = tuple(cell for group in library.all("cell") if (cell := _cell(group, units)) is not None)
    embedded = Technology.load("sg13g2")
    technology = Technology(
        name=library.arguments[0] if library.arguments else file.stem,
        description=f"liberty file {file.name}",
        source=file.name,
        node_nm=0,
        voltage_v=units.voltage_v,
        temperature_c=units.number(library, "nom_temperature", 25.0),
        cells=tuple(sorted(cells, key=lambda cell: cell.name)),
        wire_cap_ff_per_fanout=embedded.wire_cap_ff_per_fanout,
        setup_ps=embedded.setup_ps,
    )
    missing = [what for what, found in _needed(technology) if not found]
    if missing:
        raise LibertyError(f"{path}:{library.line}: library '{technology.name}' has no {missing[0]}")
    return technology


def gates(technology: Technology, n_inputs: int, tables: tuple[int, ...]) -> tuple[Cell, ...]:
    """Return the one-output logic cells whose truth table is among `tables`, smallest first."""
    return tuple(
        cell
        for cell in technology.of_role("logic")
        if len(cell.pins) == n_inputs
        and len(cell.outputs) == 1
        and boolean.truth_table(cell.outputs[0].function, cell.pins) in tables
    )


def _needed(technology: Technology) -> Iterator[tuple[str, bool]]:
    """Yield what synthesis cannot do without, and whether it is there."""
    yield "inverter", bool(gates(technology, 1, (0b01,)))
    yield "buffer", bool(gates(technology, 1, (0b10,)))
    yield "two-input NAND or NOR", bool(gates(technology, 2, (0b0111, 0b0001)))
    yield "rising-edge flip-flop with one data pin", any(map(plain_flop, technology.of_role("flop")))


def plain_flop(cell: Cell) -> bool:
    """Tell whether a flip-flop has a rising edge, one uninverted data pin, and clear and preset of one pin each."""
    controls = [boolean.literal(function) for function in (cell.clear, cell.preset) if function]
    data = boolean.literal(cell.data)
    return (
        not cell.clock.startswith("!")
        and data is not None
        and not data[1]
        and None not in controls
        and set(cell.pins) == {cell.clock_pin, data[0], *(pin for pin, _ in filter(None, controls))}
        and any(output.function == "IQ" for output in cell.outputs)
    )


class _Units:
    """Units of a library and the reading of its numbers."""

    def __init__(self, library: Group, path: str):
        self.path = path
        self.time_ps = self._scale(library, "time_unit", "1ns", "s") / 1e-12
        self.volt = self._scale(library, "voltage_unit", "1V", "V")
        self.leakage_nw = self._scale(library, "leakage_power_unit", "1nW", "W") / 1e-9
        load = library.attributes.get("capacitive_load_unit", ("1", "pf"))
        if len(load) != 2 or load[1].lower() not in ("ff", "pf"):
            raise self.error(library, "capacitive_load_unit", "must be a number and ff or pf")
        self.load_ff = self._float(library, "capacitive_load_unit", load[0]) * (
            1000.0 if load[1].lower() == "pf" else 1.0
        )
        self.voltage_v = self.number(library, "nom_voltage", 0.0) * self.volt
        if self.voltage_v <= 0:
            raise LibertyError(f"{path}:{library.line}: library has no positive 'nom_voltage'")
        self.energy_fj = self.load_ff * self.volt**2
        self.templates = {
            group.arguments[0]: group for group in library.groups if group.name.endswith("template") and group.arguments
        }

    def error(self, group: Group, name: str, text: str) -> LibertyError:
        return LibertyError(f"{self.path}:{group.lines.get(name, group.line)}: '{name}' {text}")

    def _float(self, group: Group, name: str, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise self.error(group, name, f"must be a number, got '{text}'") from None

    def number(self, group: Group, name: str, default: float) -> float:
        return self._float(group, name, group.get(name)) if name in group.attributes else default

    def _scale(self, group: Group, name: str, default: str, unit: str) -> float:
        text = group.get(name, default)
        match = re.fullmatch(rf"\s*([\d.]+)\s*([fpnumk]?){unit}\s*", text, re.IGNORECASE)
        if match is None:
            raise self.error(group, name, f"must be a number and a unit of {unit}, got '{text}'")
        return self._float(group, name, match[1]) * _PREFIXES[match[2].lower()]

    def row(self, table: Group) -> tuple[np.ndarray, np.ndarray]:
        """Return loads in fF and values of the row whose input slew is nearest 50 ps."""

        def numbers(group: Group, name: str) -> list[float]:
            texts = group.attributes.get(name, ())
            return [
                self._float(group, name, word) for text in texts for word in re.split(r"[,\s]+", text.strip()) if word
            ]

        values = np.array(numbers(table, "values"))
        template = self.templates.get(table.arguments[0] if table.arguments else "", table)
        axes = []
        for number in ("1", "2"):
            index = numbers(table, f"index_{number}") or numbers(template, f"index_{number}")
            variable = template.get(f"variable_{number}")
            if index and (variable or "variable_1" not in template.attributes):
                axes.append(
                    (variable or ("input_net_transition" if number == "1" else "total_output_net_capacitance"), index)
                )
        if values.size != int(np.prod([len(index) for _, index in axes])):
            raise self.error(table, "values", f"must have as many numbers as its indices ask for, got {values.size}")
        if not values.size or not np.isfinite(values).all():
            raise self.error(table, "values", "must be finite numbers")
        values = values.reshape([len(index) for _, index in axes])
        loads = np.zeros(1)
        for axis in range(len(axes) - 1, -1, -1):
            variable, index = axes[axis]
            if variable == "total_output_net_capacitance":
                loads = np.array(index) * self.load_ff
            else:
                nearest = int(np.argmin(np.abs(np.array(index) * self.time_ps - INPUT_SLEW_PS)))
                values = np.take(values, nearest, axis=axis)
        return loads, np.atleast_1d(values)

    def line(self, table: Group) -> tuple[float, float]:
        """Fit a straight line: value without load and slope per fF, in the table's own unit."""
        loads, values = self.row(table)
        inside = (loads >= _LOADS_FF[0]) & (loads <= _LOADS_FF[1])
        if inside.sum() < 2:
            inside[:] = True
        if len(loads) < 2:
            return float(values[0]), 0.0
        slope, offset = np.polyfit(loads[inside], values[inside], 1)
        return float(offset), float(slope)


def _cell(group: Group, units: _Units) -> Cell | None:
    """Build one cell; None where it cannot be used."""
    banned = any(group.get(name).lower() == "true" for name in ("dont_use", "is_macro_cell", "pad_cell"))
    complicated = ("bus", "bundle", "ff_bank", "latch_bank", "memory", "test_cell")
    states = [state for state in group.groups if state.name in ("ff", "latch")]
    if banned or any(True for kind in complicated for _ in group.all(kind)) or len(states) > 1 or not group.arguments:
        return None
    pins = {name: pin for pin in group.all("pin") for name in pin.arguments}
    inputs = tuple(
        (name, _capacitance(pin, units)) for name, pin in pins.items() if pin.get("direction").lower() == "input"
    )
    outputs = {name: pin for name, pin in pins.items() if pin.get("direction").lower() == "output"}
    if (
        not outputs
        or any("three_state" in pin.attributes for pin in outputs.values())
        or len(inputs) > boolean.MAX_INPUTS
    ):
        return None
    if any(pin.get("direction").lower() == "inout" for pin in pins.values()):
        return None
    sequential = _sequential(group, states, pins)
    if sequential is None:
        return None
    try:
        found = tuple(
            _output(name, pin, sequential.get("role") == "clock_gate", states, units) for name, pin in outputs.items()
        )
        names = tuple(name for name, _ in inputs)
        for output in found:
            if sequential.get("role", "logic") == "logic":
                boolean.truth_table(output.function, names)
        for function in (sequential.get(key, "") for key in ("data", "clear", "preset")):
            if function:
                boolean.truth_table(function, names)
    except LibertyError:
        raise
    except InvalidValueError as error:
        raise LibertyError(f"{units.path}:{group.line}: cell '{group.arguments[0]}': {error}") from None
    if not sequential and inputs and not all(output.delay_ps_per_ff > 0 for output in found):
        return None
    return Cell(
        name=group.arguments[0],
        area_um2=units.number(group, "area", 0.0),
        leakage_nw=_leakage(group, units),
        inputs=inputs,
        outputs=found,
        **sequential,  # type: ignore[arg-type]
    )


def _sequential(group: Group, states: list[Group], pins: dict[str, Group]) -> dict[str, str] | None:
    """Return the fields of a cell that its state decides; None where it cannot be used."""
    gate = group.get("clock_gating_integrated_cell")
    if gate:
        marked = {
            kind: [name for name, pin in pins.items() if pin.get(f"clock_gate_{kind}_pin").lower() == "true"]
            for kind in ("clock", "enable", "test")
        }
        if gate not in _GATES or len(marked["clock"]) != 1 or len(marked["enable"]) != 1:
            return None
        return {"role": "clock_gate", "clock": marked["clock"][0], "data": "+".join(marked["enable"] + marked["test"])}
    if not states:
        functions = [pin.get("function") for pin in pins.values() if pin.get("direction").lower() == "output"]
        return {} if all(functions) and "statetable" not in {g.name for g in group.groups} else None
    state = states[0]
    flop = state.name == "ff"
    clock = boolean.literal(state.get("clocked_on" if flop else "enable", "0"))
    if clock is None or "clocked_on_also" in state.attributes:
        return None
    own = state.arguments
    functions = [state.get("next_state" if flop else "data_in"), state.get("clear"), state.get("preset")]
    if not functions[0] or any(name in own for function in functions if function for name in boolean.names(function)):
        return None
    return {
        "role": "flop" if flop else "latch",
        "clock": ("!" if clock[1] else "") + clock[0],
        **dict(zip(("data", "clear", "preset"), functions, strict=True)),
    }


def _output(name: str, pin: Group, is_gate: bool, states: list[Group], units: _Units) -> CellOutput:
    """Build one output pin with its fits."""
    arcs = [arc for arc in pin.all("timing") if arc.get("timing_type").lower() in _LAUNCHING]

    def lines(*kinds: str) -> list[list[tuple[float, float]]]:
        fits = [[units.line(table) for kind in kinds for table in arc.all(kind)] for arc in arcs]
        return [fit for fit in fits if fit]

    delays, transitions = lines("cell_rise", "cell_fall"), lines("rise_transition", "fall_transition")
    energies = [
        float(median(units.row(table)[1])) * units.energy_fj
        for power in pin.all("internal_power")
        for kind in ("rise_power", "fall_power", "power")
        for table in power.all(kind)
    ]

    def mean(fits: list[list[tuple[float, float]]], part: int) -> float:
        return fmean(fit[part] for arc in fits for fit in arc) * units.time_ps if fits else 0.0

    function = pin.get("function")
    for state in states:
        for argument, standard in zip(state.arguments, ("IQ", "IQN"), strict=False):
            function = standard if function == argument else function
    return CellOutput(
        pin=name,
        function="IQ" if is_gate else function,
        delay_ps=mean(delays, 0),
        delay_worst_ps=max((fmean(fit[0] for fit in arc) for arc in delays), default=0.0) * units.time_ps,
        delay_ps_per_ff=mean(delays, 1),
        transition_ps=mean(transitions, 0),
        transition_ps_per_ff=mean(transitions, 1),
        energy_fj=max(0.0, fmean(energies)) if energies else 0.0,
    )


def _capacitance(pin: Group, units: _Units) -> float:
    if "capacitance" in pin.attributes:
        return units.number(pin, "capacitance", 0.0) * units.load_ff
    edges = [
        units.number(pin, name, 0.0) for name in ("rise_capacitance", "fall_capacitance") if name in pin.attributes
    ]
    return fmean(edges) * units.load_ff if edges else 0.0


def _leakage(group: Group, units: _Units) -> float:
    values = [units.number(state, "value", 0.0) for state in group.all("leakage_power") if "value" in state.attributes]
    value = units.number(group, "cell_leakage_power", fmean(values) if values else 0.0)
    return value * units.leakage_nw
