"""The authority for the Verilog of a slice: the gates of one element as operations on words, an instance a bit."""

__all__ = ["LANES", "RESET_LANES", "Bit", "Slice", "Vectors", "lanes_source", "slice_source"]

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tetrit.verify.batch.source import RESET

Bit = int | str
"""A net of a netlist in Yosys' JSON: its number, or a constant."""

Vectors = dict[Bit, tuple[tuple[str, ...], int]]
"""Where each net lies: in which vector, and at which place."""

LANES = 64
RESET_LANES = f"{RESET}_lanes"
"""The reset of a module of many instances, each of which has its own."""

_ZEROS, _ONES = f"{LANES}'h0", f"~{LANES}'h0"
_OPERATIONS = {
    "$_AND_": "{A} & {B}",
    "$_OR_": "{A} | {B}",
    "$_XOR_": "{A} ^ {B}",
    "$_ANDNOT_": "{A} & ~{B}",
    "$_NOT_": "~{A}",
    "$_MUX_": "(({A} ^ {B}) & {S}) ^ {A}",
}


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A slice: its Verilog, and the nets of the parent at its ports, beside the clock ``clk``."""

    text: str
    inputs: Mapping[str, Sequence[Bit]]
    outputs: Mapping[str, Sequence[Bit]]


def slice_source(
    name: str, element: Mapping[str, Any], wiring: Mapping[str, Sequence[Sequence[Bit]]], vectors: Vectors
) -> Slice:
    """Write the slice of up to 64 instances of an element.

    It computes only in cycles in which an input or a register has changed since it last did.

    Parameters
    ----------
    name : str
        Of the module.
    element : mapping
        The mapped element, in Yosys' JSON: gates and ``$_DFF_P_``; every output is a register's or a constant.
    wiring : mapping of str to sequences of nets
        For each port but the clock the parent's nets, by instance, bit 0 first.
    vectors : Vectors
        Of the parent's nets: neighbours in a vector are taken together.
    """
    inputs = _Inputs(wiring, {port for port in wiring if element["ports"][port]["direction"] == "input"}, vectors)
    logic = _Logic(element)
    for port in inputs.names:
        for place, net in enumerate(element["ports"][port]["bits"]):
            logic.assign(net, f"i{net}", inputs.word([bits[place] for bits in wiring[port]]))
    following = {net: logic.value(data) for net, data in logic.data.items()}
    outputs: dict[str, Sequence[Bit]] = {}
    values = []
    for port in (port for port in wiring if port not in inputs.names):
        for place, net in enumerate(element["ports"][port]["bits"]):
            outputs[f"out_{len(outputs)}"] = [bits[place] for bits in wiring[port]]
            values.append(logic.value(net))
    widths = {port: len(bits) for port, bits in (inputs.ports | outputs).items()}
    changed = " || ".join(["!settled", *(f"{port} != was_{port}" for port in inputs.ports)])
    lines = [
        f"module {name}({', '.join(['clk', *widths])});",
        "  input clk;",
        *(f"  input [{widths[port] - 1}:0] {port};" for port in inputs.ports),
        *(f"  output [{widths[port] - 1}:0] {port};" for port in outputs),
        *(f"  assign {port} = {value};" for port, value in zip(outputs, values, strict=True)),
        *(f"  reg [{LANES - 1}:0] q{net}{logic.initial(net)};" for net in following),
        *(f"  reg [{widths[port] - 1}:0] was_{port};" for port in inputs.ports),
        "  reg settled = 0;",
        "  always @(posedge clk) begin : step",
        *(f"    reg [{LANES - 1}:0] {local};" for local, _ in logic.lines),
        f"    reg [{LANES - 1}:0] moved;",
        f"    if ({changed}) begin",
        *(f"      was_{port} <= {port};" for port in inputs.ports),
        *(f"      {local} = {expression};" for local, expression in logic.lines),
        f"      moved = {' | '.join(f'(q{net} ^ {value})' for net, value in following.items())};",
        f"      settled <= moved == {_ZEROS};",
        *(f"      q{net} <= {value};" for net, value in following.items()),
        "    end",
        "  end",
        "endmodule\n",
    ]
    return Slice(text="\n".join(lines), inputs=inputs.ports, outputs=outputs)


def lanes_source(name: str, element: Mapping[str, Any], clock: str) -> str:
    """Write a module of 64 independent instances of an element.

    A port of `bits` bits becomes one of ``64 * bits``, bit 0 of all instances, then bit 1; ``rst`` becomes
    ``rst_lanes``. Beside them it has `mark`, on which every register is copied, and `torn`, whose bit i is set if a
    register of instance i differs from the copy of instance i + 1.

    Parameters
    ----------
    name : str
        Of the module.
    element : mapping
        The mapped element, in Yosys' JSON: gates and ``$_DFF_P_``.
    clock : str
        Its clock port.
    """
    names = {RESET: RESET_LANES}
    ports = {names.get(port, port): made for port, made in element["ports"].items() if port != clock}
    inputs = {port: made["bits"] for port, made in ports.items() if made["direction"] == "input"}
    outputs = {port: made["bits"] for port, made in ports.items() if made["direction"] == "output"}
    logic = _Logic(element)
    for port, bits in inputs.items():
        for place, net in enumerate(bits):
            logic.assign(net, f"i{net}", f"{port}[{LANES * place + LANES - 1}:{LANES * place}]")
    words = {port: [logic.value(net) for net in bits] for port, bits in outputs.items()}
    following = {net: logic.value(data) for net, data in logic.data.items()}
    last = LANES - 1
    lines = [
        f"module {name}({', '.join([clock, 'mark', *ports, 'torn'])});",
        f"  input {clock};",
        "  input mark;",
        *(f"  input [{LANES * len(bits) - 1}:0] {port};" for port, bits in inputs.items()),
        *(f"  output reg [{LANES * len(bits) - 1}:0] {port};" for port, bits in outputs.items()),
        f"  output reg [{last}:0] torn;",
        *(f"  reg [{last}:0] q{net}{logic.initial(net)};" for net in following),
        *(f"  reg [{last}:0] next_q{net};" for net in following),
        *(f"  reg [{last}:0] copy_q{net};" for net in following),
        "  always @* begin : settle",
        *(f"    reg [{last}:0] {local};" for local, _ in logic.lines),
        *(f"    {local} = {expression};" for local, expression in logic.lines),
        *(f"    {port} = {{{', '.join(reversed(values))}}};" for port, values in words.items()),
        *(f"    next_q{net} = {value};" for net, value in following.items()),
        f"    torn = {' | '.join(f'(q{net} ^ (copy_q{net} >> 1))' for net in following)};",
        "  end",
        f"  always @(posedge {clock}) begin",
        *(f"    q{net} <= next_q{net};" for net in following),
        "    if (mark) begin",
        *(f"      copy_q{net} <= q{net};" for net in following),
        "    end",
        "  end",
        "endmodule\n",
    ]
    return "\n".join(lines)


class _Inputs:
    """The nets that a slice reads: each once, neighbours in a vector in one port."""

    def __init__(self, wiring: Mapping[str, Sequence[Sequence[Bit]]], names: set[str], vectors: Vectors) -> None:
        self.names = names
        read = {bit for port in names for bits in wiring[port] for bit in bits if isinstance(bit, int)}
        places: dict[tuple[str, ...], list[tuple[int, Bit]]] = defaultdict(list)
        for net in read:
            vector, place = vectors[net]
            places[vector].append((place, net))
        self.ports: dict[str, list[Bit]] = {}
        self._where: dict[Bit, tuple[str, int]] = {}
        for vector in sorted(places):
            last = None
            for place, bit in sorted(places[vector]):
                if place - 1 != last:
                    port = self.ports[f"in_{len(self.ports)}"] = []
                last = place
                self._where[bit] = (f"in_{len(self.ports) - 1}", len(port))
                port.append(bit)

    def word(self, bits: Sequence[Bit]) -> str:
        """Return the expression for a net of every instance, instance 0 in the lowest bit."""
        if len(set(bits)) == 1:
            [bit] = set(bits)
            return _constant(bit) if isinstance(bit, str) else f"{{{LANES}{{{self._part(*self._where[bit], 1)}}}}}"
        parts: list[tuple[str, int, int]] = []
        for bit in bits:
            port, place = ("", int(bit == "1")) if isinstance(bit, str) else self._where[bit]
            if parts and port and parts[-1][0] == port and sum(parts[-1][1:]) == place:
                parts[-1] = (port, parts[-1][1], parts[-1][2] + 1)
            else:
                parts.append((port, place, 1))
        texts = [self._part(*part) for part in reversed(parts)]
        if len(bits) < LANES:
            texts.insert(0, f"{LANES - len(bits)}'h0")
        return f"{{{', '.join(texts)}}}"

    def _part(self, port: str, low: int, length: int) -> str:
        if not port:
            return f"1'h{low}"
        return port if length == len(self.ports[port]) else f"{port}[{low + length - 1}:{low}]"


class _Logic:
    """The gates of an element, in an order in which each comes after what it reads."""

    def __init__(self, element: Mapping[str, Any]) -> None:
        cells = [cell for cell in element["cells"].values() if cell["type"] != "$scopeinfo"]
        pins = [{pin: bits[0] for pin, bits in cell["connections"].items()} for cell in cells]
        self.data = {pin["Q"]: pin["D"] for pin in pins if "Q" in pin}
        self._gates = {
            pin["Y"]: (_OPERATIONS[cell["type"]], pin) for cell, pin in zip(cells, pins, strict=True) if "Y" in pin
        }
        self._names = {net: f"q{net}" for net in self.data}
        self._initial: dict[Bit, str] = {}
        for net in element["netnames"].values():
            self._initial |= zip(net["bits"], reversed(net["attributes"].get("init", "")), strict=False)
        self.lines: list[tuple[str, str]] = []

    def initial(self, net: Bit) -> str:
        """Return the initial value of a register, as it follows its name in a declaration."""
        value = self._initial.get(net, "x")
        return "" if value == "x" else f" = {_constant(value)}"

    def assign(self, net: Bit, name: str, expression: str) -> None:
        """Give a net its value."""
        self._names[net] = name
        self.lines.append((name, expression))

    def value(self, net: Bit) -> str:
        """Return a net's word, after adding the gates that form it."""
        waiting = [net]
        while waiting:
            now = waiting[-1]
            if isinstance(now, str) or now in self._names:
                waiting.pop()
                continue
            operation, pins = self._gates[now]
            read = {pin: bit for pin, bit in pins.items() if pin != "Y"}
            missing = [bit for bit in read.values() if not isinstance(bit, str) and bit not in self._names]
            if missing:
                waiting += missing
            else:
                words = {pin: self._word(bit) for pin, bit in read.items()}
                self.assign(now, f"n{now}", operation.format(**words))
        return self._word(net)

    def _word(self, net: Bit) -> str:
        return _constant(net) if isinstance(net, str) else self._names[net]


def _constant(bit: str) -> str:
    return _ONES if bit == "1" else _ZEROS
