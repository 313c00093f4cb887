"""The authority for what a liberty file means: any library read into a `Technology`."""

__all__ = ["gates", "plain_flop", "read"]

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from tetrit.errors import InvalidValueError
from tetrit.hardware.cell_tables import CellTables
from tetrit.hardware.technology import Cell, Technology
from tetrit.rtl import boolean
from tetrit.rtl.liberty_syntax import Group, LibertyError, parse_groups
from tetrit.rtl.liberty_tables import energies, read_tables, reduced
from tetrit.rtl.liberty_units import Units

_GATES = ("latch_posedge", "latch_posedge_precontrol", "latch_posedge_postcontrol")

# beyond these a figure is in a unit other than the file says: no cell of any library is near them (our assumption)
_MOST_AREA_UM2 = 1e6
_MOST_CAP_FF = 1e5
_MOST_LEAKAGE_NW_PER_UM2 = 1e3  # 100 W/cm2, what hot chips dissipate at work


class _UnusableError(Exception):
    """A cell that cannot be used here; the text says why."""


def read(path: str | Path) -> Technology:
    """Read a liberty file.

    Its tables are kept in full, for timing and energy of mapped designs, and reduced to straight lines as in the
    embedded libraries, for the mapper: at the tabulated input slew nearest 50 ps, fitted over loads from 1 to 300 fF.
    Cells that cannot be used here (buses, three-state, several states, over 6 inputs, logic whose delay does not grow
    with its load, registers without a delay, latches without an area, ``dont_use``) are left out.
    Wire load, and setup time where the file has none, are the assumptions of the embedded library, since liberty
    tables of wires are rarely real.

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
        If there is no such file, it is corrupt, a figure is negative or beyond reason, or it lacks a cell that
        synthesis needs (an inverter, a buffer, a NAND2 or NOR2, a rising-edge flip-flop); the text names file and line.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise LibertyError(f"liberty file '{path}' cannot be read: {error.strerror}") from None
    library = parse_groups(text, str(path))
    units = Units(library, str(path))
    found: list[tuple[Cell, CellTables]] = []
    unpriced: list[str] = []
    left_out: Counter[str] = Counter()
    for group in library.all("cell"):
        try:
            cell, tables, priced = _cell(group, library, units)
        except _UnusableError as reason:
            left_out[str(reason)] += 1
            continue
        found.append((cell, tables))
        if not priced:
            unpriced.append(cell.name)
    found.sort(key=lambda item: item[0].name)
    embedded = Technology.load("sg13g2")
    technology = Technology(
        name=library.arguments[0] if library.arguments else file.stem,
        description=f"liberty file {file.name}",
        source=file.name,
        node_nm=0,
        voltage_v=units.voltage_v,
        temperature_c=units.number(library, "nom_temperature", 25.0),
        cells=tuple(cell for cell, _ in found),
        wire_cap_ff_per_fanout=embedded.wire_cap_ff_per_fanout,
        setup_ps=embedded.setup_ps,
        tables=tuple(tables for _, tables in found),
        unpriced=tuple(sorted(unpriced)),
    )
    missing = [what for what, there in _needed(technology) if not there]
    if missing:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        told = f"; {left_out.total()} cells were left out: {why}" if left_out else ""
        raise LibertyError(f"{path}:{library.line}: library '{technology.name}' has no {missing[0]}{told}")
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


def _cell(group: Group, library: Group, units: Units) -> tuple[Cell, CellTables, bool]:
    """Build one cell and its tables, and tell whether energy and leakage are stated."""
    pins = {name: pin for pin in group.all("pin") for name in pin.arguments}
    directions = {name: pin.get("direction").lower() for name, pin in pins.items()}
    inputs = tuple(name for name, direction in directions.items() if direction == "input")
    outputs = tuple(name for name, direction in directions.items() if direction == "output")
    states = [state for state in group.groups if state.name in ("ff", "latch")]
    _check_kind(group, states, [pins[name] for name in outputs], inputs, directions)
    try:
        sequential = _sequential(group, states, pins)
        role = sequential.get("role", "logic")
        functions = {name: _function(pins[name], states, role == "clock_gate") for name in outputs}
        needed = list(functions.values()) if role == "logic" else []
        for function in (*needed, *(sequential.get(key, "") for key in ("data", "clear", "preset"))):
            if function:
                boolean.truth_table(function, inputs)
    except LibertyError:
        raise
    except InvalidValueError as error:
        raise LibertyError(f"{units.path}:{group.line}: cell '{group.arguments[0]}': {error}") from None
    tables = read_tables(pins, sequential.get("clock", "").lstrip("!"), units)
    found = tuple(reduced(name, function, tables) for name, function in functions.items())
    if role == "logic" and inputs and not all(output.delay_ps_per_ff > 0 for output in found):
        raise _UnusableError("without a delay that grows with the load")
    if role in ("flop", "latch") and not any(output.delay_ps > 0 for output in found):
        raise _UnusableError("registers without a delay")
    area, leakage = _area(group, role, units), _leakage(group, library, units)
    if leakage is not None and leakage > _MOST_LEAKAGE_NW_PER_UM2 * area:
        raise LibertyError(
            f"{units.path}:{group.line}: cell '{group.arguments[0]}' leaks {leakage:g} nW on {area:g} um2, beyond "
            f"reason ({_MOST_LEAKAGE_NW_PER_UM2:g} nW/um2): is 'leakage_power_unit' right?"
        )
    cell = Cell(
        name=group.arguments[0],
        area_um2=area,
        leakage_nw=leakage or 0.0,
        inputs=tuple((name, _capacitance(name, pins[name], library, units)) for name in inputs),
        outputs=found,
        input_energy_fj=tuple((name, fj) for name in inputs for _, fj in energies(tables, name)),
        **sequential,  # type: ignore[arg-type]
    )
    return cell, tables, leakage is not None and _has_energy(cell, tables)


def _has_energy(cell: Cell, tables: CellTables) -> bool:
    """Tell whether every output that can change has an energy."""
    return not cell.inputs or {output.pin for output in cell.outputs} <= {arc.pin for arc in tables.power}


def _check_kind(
    group: Group, states: list[Group], outputs: list[Group], inputs: tuple[str, ...], directions: dict[str, str]
) -> None:
    """Raise _UnusableError for the kinds of cells that cannot be used."""
    complicated = ("bus", "bundle", "ff_bank", "latch_bank", "memory", "test_cell")
    if any(group.get(name).lower() == "true" for name in ("dont_use", "is_macro_cell", "pad_cell")):
        raise _UnusableError("not to be used")
    if any(True for kind in complicated for _ in group.all(kind)):
        raise _UnusableError("with buses, banks or tests")
    if len(states) > 1:
        raise _UnusableError("with several states")
    if any("three_state" in pin.attributes for pin in outputs) or "inout" in directions.values():
        raise _UnusableError("three-state")
    if not outputs or not group.arguments:
        raise _UnusableError("without outputs")
    if len(inputs) > boolean.MAX_INPUTS:
        raise _UnusableError(f"with over {boolean.MAX_INPUTS} inputs")


def _sequential(group: Group, states: list[Group], pins: dict[str, Group]) -> dict[str, str]:
    """Return the fields of a cell that its state decides."""
    gate = group.get("clock_gating_integrated_cell")
    if gate:
        marked = {
            kind: [name for name, pin in pins.items() if pin.get(f"clock_gate_{kind}_pin").lower() == "true"]
            for kind in ("clock", "enable", "test")
        }
        if gate not in _GATES or len(marked["clock"]) != 1 or len(marked["enable"]) != 1:
            raise _UnusableError("clock gates of another kind")
        return {"role": "clock_gate", "clock": marked["clock"][0], "data": "+".join(marked["enable"] + marked["test"])}
    if not states:
        functions = [pin.get("function") for pin in pins.values() if pin.get("direction").lower() == "output"]
        if not all(functions) or any(True for _ in group.all("statetable")):
            raise _UnusableError("without a function")
        return {}
    state = states[0]
    flop = state.name == "ff"
    clock = boolean.literal(state.get("clocked_on" if flop else "enable", "0"))
    if clock is None or "clocked_on_also" in state.attributes:
        raise _UnusableError("registers of several clocks")
    own = state.arguments
    functions = [state.get("next_state" if flop else "data_in"), state.get("clear"), state.get("preset")]
    if not functions[0] or any(name in own for function in functions if function for name in boolean.names(function)):
        raise _UnusableError("registers that depend on their own state")
    return {
        "role": "flop" if flop else "latch",
        "clock": ("!" if clock[1] else "") + clock[0],
        **dict(zip(("data", "clear", "preset"), functions, strict=True)),
    }


def _function(pin: Group, states: list[Group], is_gate: bool) -> str:
    """Return the function of an output, with the state by its standard name."""
    function = pin.get("function")
    for state in states:
        for argument, standard in zip(state.arguments, ("IQ", "IQN"), strict=False):
            function = standard if function == argument else function
    return "IQ" if is_gate else function


def _area(group: Group, role: str, units: Units) -> float:
    hint = ": areas are in square micrometres"
    area = units.amount(group, "area", 1.0, _MOST_AREA_UM2, "um2", hint)
    if area:
        return area
    if role == "latch":
        raise _UnusableError("latches without an area")
    if area is None:
        raise LibertyError(f"{units.path}:{group.line}: cell '{group.arguments[0]}' has no 'area'")
    raise units.error(group, "area", f"must be above 0, got {group.get('area')}")


def _capacitance(name: str, pin: Group, library: Group, units: Units) -> float:
    def of(group: Group, kind: str) -> float | None:
        return units.amount(group, kind, units.load_ff, _MOST_CAP_FF, "fF", ": is 'capacitive_load_unit' right?")

    both = of(pin, "capacitance")
    if both is not None:
        return both
    edges = [edge for kind in ("rise_capacitance", "fall_capacitance") if (edge := of(pin, kind)) is not None]
    if edges:
        return fmean(edges)
    default = of(library, "default_input_pin_cap")
    if default is None:
        raise LibertyError(f"{units.path}:{pin.line}: pin '{name}' has no 'capacitance'")
    return default


def _leakage(group: Group, library: Group, units: Units) -> float | None:
    """Return the leakage: the cell's, else the mean over its states, else the library's default; None without any."""

    def of(owner: Group, name: str) -> float | None:
        return units.amount(owner, name, units.leakage_nw, math.inf, "nW", "")

    whole = of(group, "cell_leakage_power")
    if whole is not None:
        return whole
    states = [value for state in group.all("leakage_power") if (value := of(state, "value")) is not None]
    return fmean(states) if states else of(library, "default_cell_leakage_power")
