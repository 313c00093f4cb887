"""The authority for technologies as text for other tools: liberty for Yosys and ABC, Verilog models for simulators."""

__all__ = ["cell_models", "to_liberty"]

from collections.abc import Iterable

from tetrit.hardware.technology import Cell, CellOutput, Technology
from tetrit.rtl import boolean

_SLEWS_PS = (1.0, 1000.0)
_LOADS_FF = (1.0, 300.0)


def to_liberty(technology: Technology) -> str:
    """Write a technology as liberty text: linear tables, flip-flops, latches, tie cells and integrated clock gates.

    Units are 1 ps, 1 fF, 1 V and 1 nW, hence 1 fJ. Every arc of an output has the output's mean delay.

    Examples
    --------
    >>> to_liberty(Technology.load("sg13g2")).splitlines()[0]
    'library (sg13g2) {'
    """
    cells = (line for cell in technology.cells for line in _cell(cell))
    return "\n".join((*_head(technology), *cells, "}", ""))


def _head(technology: Technology) -> Iterable[str]:
    yield f"library ({technology.name}) {{"
    yield '  time_unit : "1ps";'
    yield '  voltage_unit : "1V";'
    yield '  current_unit : "1uA";'
    yield '  leakage_power_unit : "1nW";'
    yield '  pulling_resistance_unit : "1kohm";'
    yield "  capacitive_load_unit (1, ff);"
    yield "  delay_model : table_lookup;"
    yield f"  nom_voltage : {technology.voltage_v:g};"
    yield f"  nom_temperature : {technology.temperature_c:g};"
    yield "  nom_process : 1;"
    yield "  lu_table_template (line) {"
    yield "    variable_1 : input_net_transition;"
    yield "    variable_2 : total_output_net_capacitance;"
    yield f'    index_1 ("{_SLEWS_PS[0]:g}, {_SLEWS_PS[1]:g}");'
    yield f'    index_2 ("{_LOADS_FF[0]:g}, {_LOADS_FF[1]:g}");'
    yield "  }"


def _cell(cell: Cell) -> Iterable[str]:
    yield f"  cell ({cell.name}) {{"
    yield f"    area : {cell.area_um2:.10g};"
    yield f"    cell_leakage_power : {cell.leakage_nw:.10g};"
    if cell.role == "clock_gate":
        yield '    clock_gating_integrated_cell : "latch_posedge";'
    if cell.role in ("flop", "latch"):
        flop = cell.role == "flop"
        yield f"    {'ff' if flop else 'latch'} (IQ, IQN) {{"
        yield f'      {"clocked_on" if flop else "enable"} : "{cell.clock}";'
        yield f'      {"next_state" if flop else "data_in"} : "{cell.data}";'
        yield from (f'      {name} : "{getattr(cell, name)}";' for name in ("clear", "preset") if getattr(cell, name))
        yield "    }"
    energies = dict(cell.input_energy_fj)
    for pin, cap in cell.inputs:
        yield f"    pin ({pin}) {{"
        yield "      direction : input;"
        yield f"      capacitance : {cap:.10g};"
        if cell.role in ("flop", "clock_gate") and pin == cell.clock_pin:
            yield "      clock : true;"
        if cell.role == "clock_gate":
            kind = "clock" if pin == cell.clock_pin else "enable" if pin == boolean.names(cell.data)[0] else "test"
            yield f"      clock_gate_{kind}_pin : true;"
        if pin in energies:
            yield from _power(energies[pin])
        yield "    }"
    for output in cell.outputs:
        yield from _output(cell, output)
    yield "  }"


def _output(cell: Cell, output: CellOutput) -> Iterable[str]:
    yield f"    pin ({output.pin}) {{"
    yield "      direction : output;"
    if cell.role == "clock_gate":
        yield "      clock_gate_out_pin : true;"
    else:
        yield f'      function : "{output.function}";'
    for pin, kind, sense in _arcs(cell, output):
        yield "      timing () {"
        yield f'        related_pin : "{pin}";'
        yield f"        timing_type : {kind};"
        yield f"        timing_sense : {sense};"
        for edge in ("cell_rise", "cell_fall"):
            yield _table(edge, output.delay_ps, output.delay_ps_per_ff)
        for edge in ("rise_transition", "fall_transition"):
            yield _table(edge, output.transition_ps, output.transition_ps_per_ff)
        yield "      }"
    yield from _power(output.energy_fj)
    yield "    }"


def _power(energy_fj: float) -> Iterable[str]:
    yield "      internal_power () {"
    for edge in ("rise_power", "fall_power"):
        yield f'        {edge} (scalar) {{ values ("{energy_fj:.10g}"); }}'
    yield "      }"


def _arcs(cell: Cell, output: CellOutput) -> Iterable[tuple[str, str, str]]:
    """Yield related pin, timing type and timing sense of every arc that launches the output."""
    if cell.role == "logic":
        yield from ((pin, "combinational", sense) for pin, sense in boolean.senses(output.function, cell.pins).items())
    elif cell.role == "clock_gate":
        yield cell.clock_pin, "combinational", "positive_unate"
    else:
        yield cell.clock_pin, "falling_edge" if cell.clock.startswith("!") else "rising_edge", "non_unate"


def _table(kind: str, offset: float, slope: float) -> str:
    row = ", ".join(f"{offset + slope * load:.12g}" for load in _LOADS_FF)
    return f'        {kind} (line) {{ values ("{row}", "{row}"); }}'


def cell_models(technology: Technology) -> str:
    """Return Verilog-2005 models of all cells of a technology, for zero-delay simulation of a mapped netlist.

    Flip-flops and latches start unknown, as silicon does: a bench resets them before it looks at them.

    Examples
    --------
    >>> cell_models(Technology.load("sg13g2")).count("endmodule")
    43
    """
    return "\n".join(_model(cell) for cell in technology.cells)


def _model(cell: Cell) -> str:
    outputs = tuple(output.pin for output in cell.outputs)
    lines = [f"module {cell.name}({', '.join((*cell.pins, *outputs))});"]
    lines += [f"  input {pin};" for pin in cell.pins] + [f"  output {pin};" for pin in outputs]
    if cell.role != "logic":
        lines += ["  reg IQ;"]
        clock, data = boolean.to_verilog(cell.clock), boolean.to_verilog(cell.data)
        forced = [(boolean.to_verilog(f), value) for f, value in ((cell.clear, 0), (cell.preset, 1)) if f]
        branches = "".join(f"if ({condition}) IQ <= 1'b{value}; else " for condition, value in forced)
        if cell.role == "flop":
            edges = [_edge(cell.clock), *(_edge(f) for f in (cell.clear, cell.preset) if f)]
            lines += [f"  always @({' or '.join(edges)}) {branches}IQ <= {data};"]
        else:
            open_when = f"~{clock}" if cell.role == "clock_gate" else clock
            lines += [
                "  /* verilator lint_off LATCH */",
                f"  always @* {branches.replace('<=', '=')}if ({open_when}) IQ = {data};",
                "  /* verilator lint_on LATCH */",
            ]
    for output in cell.outputs:
        if cell.role == "clock_gate":
            value = f"{clock} & IQ"
        else:
            value = boolean.to_verilog(output.function).replace("IQN", "~IQ")
        lines += [f"  assign {output.pin} = {value};"]
    return "\n".join((*lines, "endmodule", ""))


def _edge(function: str) -> str:
    """Return the event at which a one-pin function becomes true."""
    found = boolean.literal(function)
    if found is None:
        return f"posedge ({boolean.to_verilog(function)})"
    return f"{'negedge' if found[1] else 'posedge'} {found[0]}"
