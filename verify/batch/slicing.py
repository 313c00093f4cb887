"""Many equal instances in one: they become the bits of words, so that one pass over the code computes all of them.

A simulator that takes 64 instances of a processing element one after the other spends its time in 64 copies of the same
code, on operands of a few bits. Here the element is mapped to gates, each net becomes a word that holds that net of
every instance, and a gate becomes one operation on words. What is sliced is the design's own Verilog, so a fault in it
stays in it. Modules that do not fit (memories, outputs that are not registers, several clocks) stay as they are.
"""

__all__ = ["in_lanes", "sliced"]

import copy
import json
import re
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from tetrit.rtl import yosys
from tetrit.verify.batch.slice_source import LANES, Bit, Vectors, lanes_source, slice_source
from tetrit.verify.building import cached, key

_Netlist = dict[str, Any]

_NAME = "design.v"
_MODULE = re.compile(r"^module (\w+)\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"^  (\w+) (?:\\\S+ |\w+) \($", re.MULTILINE)
_LEAST_ELEMENTS, _LEAST_BESIDE = 32, 8
"""Instances of a module that make slicing worth its time, and of others in the same parent that are sliced with it."""

_TO_GATES = """\
opt -full -nodffe -nosdff
alumacc
opt -nodffe -nosdff
techmap
opt -nodffe -nosdff
abc -g AND,OR,XOR,ANDNOT,MUX
opt_clean
"""
_LOGIC = ("$pmux", "$mux", "$and", "$or", "$xor", "$not")


def sliced(verilog: str, top: str, *, directory: Path) -> str:
    """Return Verilog that does the same in every cycle, with equal instances in one parent replaced by slices.

    Parameters
    ----------
    verilog : str
        All modules, as `tetrit.rtl.to_verilog` emits them.
    top : str
        The top module.
    directory : Path
        Cache; made if it does not exist.

    Returns
    -------
    str
        `verilog` itself if no parent has at least 32 instances of a module that fits.

    Raises
    ------
    InvalidValueError
        If `directory` cannot be written.
    ToolError
        If Yosys is missing or fails.
    """
    texts = {match[1]: match[0] for match in _MODULE.finditer(verilog)}
    families = {}
    for parent, text in texts.items():
        counts = Counter(child for child in _INSTANCE.findall(text) if child in texts)
        if max(counts.values(), default=0) >= _LEAST_ELEMENTS:
            families[parent] = [child for child, number in counts.items() if number >= _LEAST_BESIDE]
    if not families:
        return verilog

    def make(aside: Path) -> None:
        done = dict(texts)
        for parent, children in families.items():
            done |= _slice_children(verilog, parent, children)
        used = [top]
        for name in used:
            found = dict.fromkeys(_INSTANCE.findall(done[name]))
            used += [child for child in found if child in done and child not in used]
        (aside / _NAME).write_text("\n".join(done[name] for name in used), encoding="utf-8")

    return _cached(verilog, top, "sliced", directory, make)


def in_lanes(verilog: str, top: str, *, directory: Path) -> str | None:
    """Return 64 independent instances of a whole design as one module, see `slice_source.lanes_source`.

    Parameters
    ----------
    verilog, top, directory
        As of `sliced`.

    Returns
    -------
    str or None
        Named `top` too. None if the design has memories, no clock, or several.

    Raises
    ------
    InvalidValueError
        If `directory` cannot be written.
    ToolError
        If Yosys is missing or fails.
    """

    def make(aside: Path) -> None:
        script = f"read_verilog -sv in.v\nhierarchy -top {top}\nproc\nflatten\nopt_clean\nwrite_json out.json\n"
        module = json.loads(yosys.run(script, {"in.v": verilog}, ("out.json",))["out.json"])["modules"][top]
        clock = _clock(module)
        text = "" if clock is None else lanes_source(top, _mapped({top: module})[top], clock)
        (aside / _NAME).write_text(text, encoding="utf-8")

    return _cached(verilog, top, "lanes", directory, make) or None


def _cached(verilog: str, top: str, kind: str, directory: Path, make: Callable[[Path], None]) -> str:
    sources = [Path(path).read_text(encoding="utf-8") for path in (__file__, slice_source.__code__.co_filename)]
    folder = cached(directory.resolve(), f"{top}-{kind}-{key(verilog, top, *sources, version('pyosys'))}", make)
    return (folder / _NAME).read_text(encoding="utf-8")


def _slice_children(verilog: str, parent: str, children: list[str]) -> dict[str, str]:
    """Return the new text of `parent` and those of its slices; nothing if no child fits."""
    script = f"read_verilog -sv in.v\nhierarchy -top {parent}\nproc\nflatten {' '.join(children)}\nopt_clean\n"
    modules = json.loads(yosys.run(f"{script}write_json out.json\n", {"in.v": verilog}, ("out.json",))["out.json"])
    outer = modules["modules"][parent]
    if any(cell["type"].startswith("$mem") for cell in outer["cells"].values()):
        return {}
    families = []
    for child in children:
        module = modules["modules"][child]
        clock = _clock(module)
        if clock is not None and _is_registered(module):
            families.append(_Family(outer, child, module, clock))
    if not families:
        return {}
    wires = _Wires(outer)
    for family in families:
        family.absorb(wires)
    vectors = wires.vectors()
    for family in families:
        vectors |= family.vectors()
    elements = _mapped({family.name: family.inner for family in families})
    texts: dict[str, str] = {}
    for family in families:
        texts |= family.replace(elements[family.name], vectors)
    design = json.dumps({"modules": {parent: outer}})
    made = yosys.run("read_json in.json\nwrite_verilog -noattr out.v\n", {"in.json": design}, ("out.v",))
    return texts | {parent: made["out.v"]}


def _mapped(modules: dict[str, _Netlist]) -> dict[str, _Netlist]:
    """Return modules as gates of two inputs, multiplexers and plain flip-flops."""
    design = json.dumps({"modules": modules})
    made = yosys.run(f"read_json in.json\n{_TO_GATES}write_json out.json\n", {"in.json": design}, ("out.json",))
    mapped: dict[str, _Netlist] = json.loads(made["out.json"])["modules"]
    return mapped


def _clock(module: _Netlist) -> str | None:
    """Return the clock port of a flat module of logic and registers with one clock; None of any other module."""
    cells = [cell for cell in module["cells"].values() if cell["type"] != "$scopeinfo"]
    registers = [cell for cell in cells if cell["type"] == "$dff"]
    others = {cell["type"] for cell in cells} - {"$dff"}
    edges = {(*cell["connections"]["CLK"], int(cell["parameters"]["CLK_POLARITY"], 2)) for cell in registers}
    if any(not kind.startswith("$") or kind.startswith(("$mem", "$dlatch")) or "ff" in kind for kind in others):
        return None
    if len(edges) != 1:
        return None
    [(net, rising)] = edges
    ports = [name for name, port in module["ports"].items() if port["bits"] == [net] and port["direction"] == "input"]
    return ports[0] if ports and rising else None


def _is_registered(module: _Netlist) -> bool:
    """Return whether every output of a flat module is a register's or a constant."""
    held = {bit for cell in module["cells"].values() if cell["type"] == "$dff" for bit in cell["connections"]["Q"]}
    outputs = [bit for port in module["ports"].values() if port["direction"] == "output" for bit in port["bits"]]
    return all(isinstance(bit, str) or bit in held for bit in outputs)


class _Wires:
    """Who drives and who reads each net of a parent."""

    def __init__(self, module: _Netlist) -> None:
        self.cells = module["cells"]
        self.readers: Counter[Bit] = Counter()
        self.driver: dict[Bit, str] = {}
        self.inputs = {name: port["bits"] for name, port in module["ports"].items() if port["direction"] == "input"}
        for port in module["ports"].values():
            if port["direction"] == "output":
                self.readers.update(port["bits"])
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "input":
                    self.readers.update(set(bits))
                else:
                    self.driver |= dict.fromkeys(bits, name)

    def only_for(self, bits: list[Bit]) -> str | None:
        """Return the cell whose logic forms just these bits, for one reader; None if there is none."""
        drivers = {self.driver.get(bit) for bit in bits}
        name = drivers.pop() if len(drivers) == 1 else None
        if name is None or name not in self.cells or self.cells[name]["type"] not in _LOGIC:
            return None
        return (
            name if self.cells[name]["connections"]["Y"] == bits and all(self.readers[b] == 1 for b in bits) else None
        )

    def vectors(self) -> Vectors:
        """Return for each bit the port that drives it, and its place in that port."""
        ports: list[tuple[tuple[str, ...], list[Bit]]] = [((name,), bits) for name, bits in self.inputs.items()]
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "output":
                    ports.append(((name, port), bits))
        return {bit: (port, place) for port, bits in ports for place, bit in enumerate(bits)}


class _Family:
    """All instances of one module in a parent."""

    def __init__(self, outer: _Netlist, name: str, inner: _Netlist, clock: str) -> None:
        self.outer, self.name, self.inner, self.clock = outer, name, inner, clock
        named = [cell for cell, made in outer["cells"].items() if made["type"] == name]
        self.instances = sorted(named, key=lambda cell: [int(digits) for digits in re.findall(r"\d+", cell)])
        cells = outer["cells"]
        self.wiring = {port: [cells[i]["connections"][port] for i in self.instances] for port in inner["ports"]}
        del self.wiring[clock]

    def absorb(self, wires: _Wires) -> None:
        """Take logic that only feeds one input of each instance into the module, if it is the same for all."""
        cells, ports = wires.cells, self.inner["ports"]
        bits = (bit for cell in self.inner["cells"].values() for nets in cell["connections"].values() for bit in nets)
        free = count(1 + max(bit for bit in bits if isinstance(bit, int)))
        waiting = [port for port in self.wiring if ports[port]["direction"] == "input"]
        for port in waiting:
            sources = [wires.only_for(bits) for bits in self.wiring[port]]
            kinds = {source and json.dumps([cells[source][k] for k in ("type", "parameters")]) for source in sources}
            if None in kinds or len(kinds) > 1:
                continue
            taken = [cells.pop(source) for source in sources if source is not None]
            element = copy.deepcopy(taken[0])
            element["connections"]["Y"] = ports.pop(port)["bits"]
            del self.wiring[port]
            for pin in (pin for pin, direction in element["port_directions"].items() if direction == "input"):
                name = f"{port}${pin}"
                element["connections"][pin] = [next(free) for _ in element["connections"][pin]]
                ports[name] = {"direction": "input", "bits": element["connections"][pin]}
                self.wiring[name] = [cell["connections"][pin] for cell in taken]
                waiting.append(name)
            self.inner["cells"][f"$of${port}"] = element
        self.inner["netnames"] |= {
            name: {"hide_name": 0, "bits": port["bits"], "attributes": {}} for name, port in ports.items()
        }

    def _outputs(self) -> list[str]:
        return [port for port in self.wiring if self.inner["ports"][port]["direction"] == "output"]

    def vectors(self) -> Vectors:
        """Return for each output bit of the instances the word of a slice that holds it, and its place there."""
        return {
            bit: ((self.name, port, str(place), str(number // LANES)), number % LANES)
            for port in self._outputs()
            for number, bits in enumerate(self.wiring[port])
            for place, bit in enumerate(bits)
        }

    def replace(self, element: _Netlist, vectors: Vectors) -> dict[str, str]:
        """Replace the instances in the parent; return the texts of the slices."""
        cells = self.outer["cells"]
        clock = cells[self.instances[0]]["connections"][self.clock]
        texts = {}
        for number, start in enumerate(range(0, len(self.instances), LANES)):
            wiring = {port: bits[start : start + LANES] for port, bits in self.wiring.items()}
            name = f"{self.name}_slice_{number}"
            made = slice_source(name, element, wiring, vectors)
            texts[name] = made.text
            cells[name] = {
                "hide_name": 0,
                "type": name,
                "parameters": {},
                "attributes": {},
                "port_directions": dict.fromkeys(("clk", *made.inputs), "input")
                | dict.fromkeys(made.outputs, "output"),
                "connections": {"clk": clock, **made.inputs, **made.outputs},
            }
        for instance in self.instances:
            del cells[instance]
        return texts
