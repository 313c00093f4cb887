"""The authority for mapped netlists: hierarchical modules of library cells, and their Verilog."""

__all__ = ["CONSTANTS", "Instance", "Module", "Netlist", "Port"]

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tetrit.errors import ToolError
from tetrit.hardware.technology import Cell, Technology

CONSTANTS = 2  # nets 0 and 1 of every module are the constants 0 and 1
_KEYWORD = re.compile(
    r"always|and|assign|begin|buf|case|default|else|end|endcase|endfunction|endmodule|for|function|if|initial|inout|input|"
    r"integer|module|nand|negedge|nor|not|or|output|parameter|posedge|real|reg|signed|table|time|tri|wire|while|xnor|xor"
)


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port of a module: `nets` from bit 0 upwards."""

    name: str
    direction: Literal["input", "output"]
    nets: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A library cell or a child module in a module; `pins` holds the nets of each connected pin, from bit 0 upwards."""

    name: str
    type: str
    pins: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module: `net_names[i]` names net i; nets 0 and 1 are the constants."""

    name: str
    ports: tuple[Port, ...]
    cells: tuple[Instance, ...]
    children: tuple[Instance, ...]
    net_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """A mapped design.

    Attributes
    ----------
    top : str
        Name of the top module.
    modules : tuple of Module
        All modules, children before parents; the last is the top.
    technology : Technology
        The library of the cells.
    """

    top: str
    modules: tuple[Module, ...]
    technology: Technology

    @classmethod
    def from_json(cls, data: Mapping[str, Any], top: str, technology: Technology) -> "Netlist":
        """Build a netlist from what Yosys' ``write_json`` writes."""
        cells = {cell.name: cell for cell in technology.cells}
        bodies = data["modules"]
        ordered: dict[str, Module] = {}

        def visit(name: str) -> None:
            if name not in ordered:
                module = _module(name, bodies[name], cells)
                for child in module.children:
                    if child.type not in bodies:
                        raise ToolError(
                            f"no cell of library '{technology.name}' can map '{child.type}' of module '{name}'"
                        )
                    visit(child.type)
                ordered[name] = module

        visit(top)
        return cls(top=top, modules=tuple(ordered.values()), technology=technology)

    def __getitem__(self, name: str) -> Module:
        return next(module for module in self.modules if module.name == name)

    def instance_counts(self) -> dict[str, int]:
        """Return how often each module occurs in the whole design."""
        counts = dict.fromkeys((module.name for module in self.modules), 0)
        counts[self.top] = 1
        for module in reversed(self.modules):
            for child in module.children:
                counts[child.type] += counts[module.name]
        return counts

    def to_verilog(self) -> str:
        """Return the netlist as structural Verilog-2005, children before parents."""
        return "\n".join(_verilog(module) for module in self.modules)


def _module(name: str, body: Mapping[str, Any], cells: Mapping[str, Cell]) -> Module:
    """Build one module of Yosys' JSON, with nets and cells renumbered in a canonical order."""
    names: list[str] = ["0", "1"]
    nets: dict[Any, int] = {"0": 0, "1": 1, "x": 0, "z": 0}
    taken = set(body["cells"])

    def fresh(wanted: str) -> str:
        candidate, number = wanted, 1
        while candidate in taken or _KEYWORD.fullmatch(candidate):
            number += 1
            candidate = f"{wanted}_{number}"
        taken.add(candidate)
        return candidate

    taken.update(body["ports"])
    for port, item in body["ports"].items():
        for index, bit in enumerate(item["bits"]):
            if bit not in nets:
                nets[bit] = len(names)
                names.append(f"{port}[{index}]" if len(item["bits"]) > 1 else port)
    for wire, item in body["netnames"].items():
        if item["hide_name"] or not re.fullmatch(r"[A-Za-z_][\w$.]*", wire):
            continue
        for index, bit in enumerate(item["bits"]):
            if bit not in nets:
                nets[bit] = len(names)
                plain = re.sub(r"\W", "_", wire)
                names.append(fresh(f"{plain}_{index}" if len(item["bits"]) > 1 else plain))
    leaves: list[Instance] = []
    children: list[Instance] = []
    for instance, item in body["cells"].items():
        pins: list[tuple[str, tuple[int, ...]]] = []
        for pin, bits in item["connections"].items():
            for bit in bits:
                if bit not in nets:
                    nets[bit] = len(names)
                    names.append(fresh(f"n{len(names)}"))
            pins.append((pin, tuple(nets[bit] for bit in bits)))
        cell = cells.get(item["type"])
        if cell is not None:
            state = dict(pins).get(cell.outputs[0].pin)
            wanted = f"u{len(leaves)}"
            if cell.role == "flop" and state:
                wanted = f"{re.sub('[^A-Za-z0-9_]+', '_', names[state[0]]).rstrip('_')}_reg"
            leaves.append(Instance(name=fresh(wanted), type=cell.name, pins=tuple(pins)))
        else:
            children.append(Instance(name=re.sub(r"\W", "_", instance), type=item["type"], pins=tuple(pins)))
    ports = tuple(
        Port(name=port, direction=item["direction"], nets=tuple(nets[bit] for bit in item["bits"]))
        for port, item in body["ports"].items()
    )
    return Module(name=name, ports=ports, cells=tuple(leaves), children=tuple(children), net_names=tuple(names))


def _verilog(module: Module) -> str:
    names = {port.name: _escaped(port.name) for port in module.ports}
    lines = [f"module {module.name}({', '.join(names.values())});"]
    own: dict[int, str] = {0: "1'b0", 1: "1'b1"}
    assigns = []
    for direction in ("input", "output"):
        for port in module.ports:
            if port.direction != direction:
                continue
            name, width = names[port.name], len(port.nets)
            lines.append(f"  {direction} {f'[{width - 1}:0] ' if width > 1 else ''}{name};")
            for index, net in enumerate(port.nets):
                bit = f"{name}[{index}]" if width > 1 else name
                if own.setdefault(net, bit) != bit:
                    assigns.append(f"  assign {bit} = {own[net]};")
    for net, name in enumerate(module.net_names):
        if net not in own:
            own[net] = name
            lines.append(f"  wire {name};")
    for instance in (*module.children, *module.cells):
        pins = []
        for pin, nets in instance.pins:
            bits = ", ".join(own[net] for net in reversed(nets))
            pins.append(f".{_escaped(pin)}({f'{{{bits}}}' if len(nets) > 1 else bits})")
        lines.append(f"  {instance.type} {instance.name}({', '.join(pins)});")
    return "\n".join((*lines, *assigns, "endmodule", ""))


def _escaped(name: str) -> str:
    """Return a name as Verilog reads it, where it is one of Verilog's words."""
    return f"\\{name} " if _KEYWORD.fullmatch(name) else name
