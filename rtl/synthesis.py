"""The authority for synthesis: a component mapped to library cells by Yosys and ABC; area, timing, netlist."""

__all__ = ["ModuleArea", "Synthesis", "load_technology", "synthesize"]

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from amaranth.lib import wiring

from tetrit.checks import integer
from tetrit.hardware.technology import Cell, Technology
from tetrit.rtl import boolean, yosys
from tetrit.rtl.buffering import MAX_LOAD_FF, buffer_cell, insert_buffers
from tetrit.rtl.flat import flatten
from tetrit.rtl.hierarchy import lower, require_component
from tetrit.rtl.liberty import gates, plain_flop, read
from tetrit.rtl.liberty_text import cell_models, to_liberty
from tetrit.rtl.netlist import Netlist
from tetrit.rtl.timing import PathStep, Timing, analyse

# ABC's own default proves equivalences by SAT first, which costs 10 times the time on multipliers for about 1 % of area
_ABC_SCRIPT = "+strash;ifraig;scorr;dc2;strash;&get,-n;&dch,-f;&nf;&put;buffer;upsize;dnsize"


@dataclass(frozen=True, kw_only=True)
class ModuleArea:
    """Area of one module.

    Attributes
    ----------
    instances : int
        How often it occurs in the design.
    own_area_um2 : float
        Cells of one instance, without the modules in it.
    total_area_um2 : float
        Cells of one instance, with the modules in it.
    cells : mapping of str to int
        Own cells of one instance by type.
    """

    instances: int
    own_area_um2: float
    total_area_um2: float
    cells: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """A mapped design and its figures; each is `synthesised`, under `assumptions`.

    Attributes
    ----------
    name : str
        Top module.
    technology : Technology
        The library.
    area_um2, leakage_nw : float
        Sums over all cells; without clock tree, fill and routing.
    delay_ns : float
        The longest path: the least clock period of a clocked design, the input-to-output delay of a combinational one.
    critical_path : tuple of PathStep
        The nets on it.
    critical_end : str
        Where it ends.
    cells : mapping of str to int
        Number of cells by type.
    modules : mapping of str to ModuleArea
        Area by module, children before parents.
    netlist : str
        Gate-level Verilog; `models` has its cells.
    assumptions : tuple of str
        What the figures rest on.
    structure : Netlist
        The netlist as objects.
    """

    name: str
    technology: Technology
    area_um2: float
    leakage_nw: float
    delay_ns: float
    critical_path: tuple[PathStep, ...]
    critical_end: str
    cells: Mapping[str, int]
    modules: Mapping[str, ModuleArea]
    assumptions: tuple[str, ...]
    structure: Netlist

    @cached_property
    def netlist(self) -> str:
        """Gate-level Verilog text, one module per distinct component."""
        return self.structure.to_verilog()

    @cached_property
    def models(self) -> str:
        """Verilog models of the library's cells."""
        return cell_models(self.technology)


def synthesize(
    component: wiring.Component,
    library: str = "sg13g2",
    liberty: str | Path | None = None,
    *,
    name: str | None = None,
    hierarchical: bool = True,
    gate_clocks: bool = True,
    min_gated_bits: int = 4,
) -> Synthesis:
    """Map a component to standard cells.

    Parameters
    ----------
    component : amaranth.lib.wiring.Component
        The design.
    library : str
        An embedded technology.
    liberty : str or Path, optional
        A liberty file to be used instead.
    name : str, optional
        Name of the top module; by default the component's class.
    hierarchical : bool
        Map each distinct component once and keep it as a module; else flatten the design and optimise across modules.
    gate_clocks : bool
        Turn registers with a clock enable into plain ones behind an integrated clock gate, where the library has one.
    min_gated_bits : int
        Fewest bits that share an enable for a gate to be used; at least 1.

    Returns
    -------
    Synthesis
        Area, timing, cells and netlist; the same for the same component, always.

    Raises
    ------
    TypeError
        If `component` is no Amaranth component.
    UnknownNameError
        If there is no such library.
    LibertyError
        If the liberty file is missing or corrupt, or lacks a needed cell.
    ToolError
        If Yosys is missing or fails.

    Examples
    --------
    >>> from amaranth.hdl import Module
    >>> from amaranth.lib.wiring import Component, In, Out
    >>> class Inverter(Component):
    ...     a: In(1)
    ...     y: Out(1)
    ...
    ...     def elaborate(self, platform):
    ...         m = Module()
    ...         m.d.comb += self.y.eq(~self.a)
    ...         return m
    >>> dict(synthesize(Inverter()).cells)
    {'sg13g2_inv_2': 1}
    """
    require_component(component)
    integer("min_gated_bits", min_gated_bits)
    technology = load_technology(library, liberty)
    design = lower(component, type(component).__name__.lstrip("_") if name is None else name)
    gate = _gate(technology) if gate_clocks else None
    flops = [cell for cell in technology.of_role("flop") if plain_flop(cell)]
    clearing = next((cell for cell in flops if cell.clear), None)
    files = {
        "in.il": design.rtlil,
        "cells.lib": to_liberty(technology),
        "flops.v": _flop_map(flops[0], clearing),
        "io.constr": _constraints(technology),
    }
    script = _script(design.top, technology, clearing, gate, min_gated_bits, hierarchical)
    data = json.loads(yosys.run(script, files, ("out.json",))["out.json"])
    netlist = insert_buffers(Netlist.from_json(data, design.top, technology))
    return _result(netlist, analyse(flatten(netlist)), gate, min_gated_bits)


def load_technology(library: str = "sg13g2", liberty: str | Path | None = None) -> Technology:
    """Return the cells that `synthesize` would use; raises what it would raise."""
    return Technology.load(library) if liberty is None else read(liberty)


def _gate(technology: Technology) -> Cell | None:
    """Return the smallest rising-edge clock gate."""
    return next((cell for cell in technology.of_role("clock_gate") if not cell.clock.startswith("!")), None)


def _constraints(technology: Technology) -> str:
    """Return what ABC is to assume of the surroundings while it sizes gates."""
    return f"set_driving_cell {buffer_cell(technology).name}\nset_load {technology.wire_cap_ff_per_fanout:g}\n"


def _flop_map(flop: Cell, clearing: Cell | None) -> str:
    """Return the Verilog that maps Yosys' flip-flops to the library's and reset over enable to enable over reset."""

    def module(kind: str, cell: Cell, reset: str = "") -> str:
        data = boolean.literal(cell.data)
        assert data is not None
        output = next(output for output in cell.outputs if output.function == "IQ")
        pins = {data[0]: "D", cell.clock_pin: "C", output.pin: "Q"}
        for function in filter(None, (cell.clear, cell.preset)):
            control = boolean.literal(function)
            assert control is not None
            pins[control[0]] = "1'b1" if control[1] else "1'b0"
        if reset:
            pins[reset] = "R"
        bound = ", ".join(f".{pin}({net})" for pin, net in pins.items())
        ports = f"input C, D{', R' if reset else ''}, output Q"
        return f"module \\{kind} ({ports});\n{cell.name} _TECHMAP_REPLACE_ ({bound});\nendmodule\n"

    text = module("$_DFF_P_", flop)
    clear = None if clearing is None else boolean.literal(clearing.clear)
    if clearing is not None and clear is not None:
        text += module(f"$_DFF_P{'N' if clear[1] else 'P'}0_", clearing, clear[0])
    for value in (0, 1):
        forced = "D & ~R" if value == 0 else "D | R"
        text += f"module \\$_SDFF_PP{value}_ (input C, D, R, output Q);\n"
        text += f"\\$_DFF_P_ _TECHMAP_REPLACE_ (.C(C), .D({forced}), .Q(Q));\nendmodule\n"
        text += f"module \\$_SDFFE_PP{value}P_ (input C, D, E, R, output Q);\n"
        text += f"\\$_DFFE_PP_ _TECHMAP_REPLACE_ (.C(C), .D({forced}), .E(E | R), .Q(Q));\nendmodule\n"
        text += f"module \\$_SDFFCE_PP{value}P_ (input C, D, E, R, output Q);\n"
        text += f"\\$_DFFE_PP_ _TECHMAP_REPLACE_ (.C(C), .D({forced}), .E(E), .Q(Q));\nendmodule\n"
    return text


def _script(
    top: str,
    technology: Technology,
    clearing: Cell | None,
    gate: Cell | None,
    min_gated_bits: int,
    hierarchical: bool,
) -> str:
    """Return the Yosys script of the whole flow."""
    clear = None if clearing is None else boolean.literal(clearing.clear)
    clear_kind = "" if clear is None else f" -cell $_DFF_P{'N' if clear[1] else 'P'}0_ x"
    synchronous = "".join(f" -cell $_SDFF_PP{v}_ x -cell $_SDFFE_PP{v}P_ x -cell $_SDFFCE_PP{v}P_ x" for v in (0, 1))
    lines = [
        "read_rtlil in.il",
        f"synth -top {top} -noabc -nofsm{'' if hierarchical else ' -flatten'}",
        "chformal -remove",
        "delete t:$print t:$scopeinfo",
        "setattr -unset init w:*",
    ]
    if gate is not None:
        enable, *tests = boolean.names(gate.data)
        pins = f"{enable}:{gate.clock_pin}:{gate.outputs[0].pin}"
        ties = "".join(f" -tie_lo {pin}" for pin in tests)
        lines += [
            f"dfflegalize -cell $_DFF_P_ x -cell $_DFFE_PP_ x{synchronous}{clear_kind}",
            "techmap -map flops.v t:$_SDFF_* t:$_SDFFE_* t:$_SDFFCE_* %u %u",
            "simplemap",
            "opt -nodffe -nosdff",
            f"clockgate -pos {gate.name} {pins}{ties} -min_net_size {min_gated_bits}",
        ]
    lines += [
        f"dfflegalize -cell $_DFF_P_ x{clear_kind}",
        "techmap -map flops.v",
        "simplemap",
        "opt -nodffe -nosdff",
        f"abc -liberty cells.lib -constr io.constr -script {_ABC_SCRIPT}",
        "opt_clean -purge",
    ]
    high, low = _tie(technology, 1), _tie(technology, 0)
    if high and low:
        lines.append(f"hilomap -singleton -hicell {high} -locell {low}")
    lines += ["clean -purge", "write_json out.json"]
    return "\n".join(lines)


def _tie(technology: Technology, value: int) -> str:
    """Return cell and pin of the smallest constant driver."""
    return next((f"{cell.name} {cell.outputs[0].pin}" for cell in gates(technology, 0, (value,))), "")


def _result(netlist: Netlist, timing: Timing, gate: Cell | None, min_gated_bits: int) -> Synthesis:
    technology = netlist.technology
    areas = {cell.name: cell.area_um2 for cell in technology.cells}
    instances = netlist.instance_counts()
    modules: dict[str, ModuleArea] = {}
    total: Counter[str] = Counter()
    for module in netlist.modules:
        own = Counter(sorted(cell.type for cell in module.cells))
        own_area = sum(areas[kind] * count for kind, count in own.items())
        modules[module.name] = ModuleArea(
            instances=instances[module.name],
            own_area_um2=own_area,
            total_area_um2=own_area + sum(modules[child.type].total_area_um2 for child in module.children),
            cells=MappingProxyType(dict(own)),
        )
        for kind, count in own.items():
            total[kind] += count * instances[module.name]
    cells = dict(sorted(total.items()))
    return Synthesis(
        name=netlist.top,
        technology=technology,
        area_um2=sum(areas[kind] * count for kind, count in cells.items()),
        leakage_nw=sum(technology.cell(kind).leakage_nw * count for kind, count in cells.items()),
        delay_ns=timing.delay_ns,
        critical_path=timing.path,
        critical_end=timing.end,
        cells=MappingProxyType(cells),
        modules=MappingProxyType(modules),
        assumptions=_assumptions(technology, gate, min_gated_bits, cells),
        structure=netlist,
    )


def _assumptions(
    technology: Technology, gate: Cell | None, min_gated_bits: int, cells: Mapping[str, int]
) -> tuple[str, ...]:
    setup = f"setup time: {technology.setup_ps:g} ps (our assumption)"
    if technology.tables:
        timing = (
            f"delays: full tables, by load and transition; 50 ps at ports and clock (our assumption); {setup} where "
        )
        timing += "the library states none"
    else:
        timing = f"{setup}; input slew 50 ps; slowest arc of each cell"
    lines = [
        f"cells: {technology.source}",
        f"corner: {technology.voltage_v:g} V, {technology.temperature_c:g} C",
        f"wire load: {technology.wire_cap_ff_per_fanout:g} fF per fan-out (our assumption)",
        timing,
        "clock: ideal, no clock tree in area or energy; no routing, no fill",
        "registers: initial values dropped, so a design must be reset; unused resets tied off, one tie cell a module"
        + (f"; enables of {min_gated_bits} bits or more through {gate.name}" if gate else "; enables by multiplexers"),
        f"nets above {MAX_LOAD_FF:g} fF split by trees of {buffer_cell(technology).name}",
    ]
    unpriced = set(technology.unpriced) & cells.keys()
    if unpriced:
        lines.append(
            f"energy: not to be had, the library states none, or no leakage, of {len(unpriced)} types of cells"
        )
    return tuple(lines)
