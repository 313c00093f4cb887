"""The authority for a netlist without hierarchy: all cells and nets of the design as arrays, with their loads."""

__all__ = ["FlatNetlist", "Placed", "flatten"]

import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.hardware.technology import Cell, Technology
from tetrit.rtl.netlist import CONSTANTS, Module, Netlist


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """One instance of a module in the design.

    Attributes
    ----------
    path : str
        Where it is: names of instances, each with a dot after it; empty for the top.
    module : Module
        What it is.
    first_cell : int
        The first of its own cells.
    nets : int32 array
        Net of the design for each of the module's nets, `module.net_names` first.
    """

    path: str
    module: Module
    first_cell: int
    nets: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class FlatNetlist:
    """All cells of a design as arrays.

    Attributes
    ----------
    technology : Technology
        The library; `cell_type` counts its `cells`.
    n_nets : int
        Number of nets; nets 0 and 1 are the constants.
    cell_type : int32 array, shape (n_cells,)
        Cell type of each cell.
    in_start, in_nets : int64 (n_cells + 1,), int32
        Input nets of cell i, in the order of its type's `pins`, are ``in_nets[in_start[i]:in_start[i + 1]]``.
    out_start, out_nets : int64 (n_cells + 1,), int32
        Output nets likewise, in the order of its type's `outputs`.
    owner : int32 array, shape (n_cells,)
        Module that holds each cell, counting `module_names`.
    inputs, outputs : dict of str to int32 array
        Nets of each top-level port, from bit 0 upwards.
    instances : tuple of Placed
        All instances of modules, each before those in it.
    """

    technology: Technology
    n_nets: int
    cell_type: NDArray[np.int32]
    in_start: NDArray[np.int64]
    in_nets: NDArray[np.int32]
    out_start: NDArray[np.int64]
    out_nets: NDArray[np.int32]
    owner: NDArray[np.int32]
    module_names: tuple[str, ...]
    inputs: Mapping[str, NDArray[np.int32]]
    outputs: Mapping[str, NDArray[np.int32]]
    instances: tuple[Placed, ...]

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.cell_type)

    def cell(self, index: int) -> Cell:
        """Return the type of a cell."""
        return self.technology.cells[self.cell_type[index]]

    def cell_name(self, index: int) -> str:
        """Return the hierarchical name of a cell."""
        placed = self._holder(index)
        return f"{placed.path}{placed.module.cells[index - placed.first_cell].name}"

    def output_name(self, index: int, number: int) -> str:
        """Return the hierarchical name of the net at an output of a cell, as the cell's module calls it."""
        placed = self._holder(index)
        pin = self.cell(index).outputs[number].pin
        nets = dict(placed.module.cells[index - placed.first_cell].pins).get(pin)
        return f"{placed.path}{placed.module.net_names[nets[0]] if nets else pin}"

    def _holder(self, index: int) -> Placed:
        """Return the instance that a cell belongs to."""
        return self.instances[bisect.bisect_right(self._starts, index) - 1]

    @cached_property
    def _starts(self) -> list[int]:
        return [placed.first_cell for placed in self.instances]

    def gather(self, values: list[Any]) -> NDArray[Any]:
        """Return one value per cell from a list of one value per cell type."""
        return np.asarray(values)[self.cell_type]

    @cached_property
    def out_kind(self) -> NDArray[np.int64]:
        """Which output each of `out_nets` is, counting the outputs of all cell types in order."""
        return self._kind(self.out_start, [len(cell.outputs) for cell in self.technology.cells])

    @cached_property
    def in_kind(self) -> NDArray[np.int64]:
        """Which input each of `in_nets` is, counting the inputs of all cell types in order."""
        return self._kind(self.in_start, [len(cell.inputs) for cell in self.technology.cells])

    def _kind(self, start: NDArray[np.int64], counts: list[int]) -> NDArray[np.int64]:
        first = np.cumsum([0, *counts])
        position = np.arange(start[-1]) - np.repeat(start[:-1], np.diff(start))
        return np.asarray(np.repeat(first[self.cell_type], np.diff(start)) + position, dtype=np.int64)

    @cached_property
    def is_port_net(self) -> NDArray[np.bool_]:
        """Nets that are top-level inputs."""
        mask = np.zeros(self.n_nets, dtype=np.bool_)
        for nets in self.inputs.values():
            mask[nets] = True
        return mask

    @cached_property
    def load_ff(self) -> NDArray[np.float64]:
        """Capacitance of every net: input pins, and wire per fan-out; a top-level output counts as one fan-out."""
        caps = np.array([cap for cell in self.technology.cells for _, cap in cell.inputs] or [0.0])
        wire = self.technology.wire_cap_ff_per_fanout
        load = np.bincount(self.in_nets, weights=caps[self.in_kind] + wire, minlength=self.n_nets)
        for nets in self.outputs.values():
            np.add.at(load, nets, wire)
        load[:CONSTANTS] = 0.0
        return load.astype(np.float64)


def flatten(netlist: Netlist) -> FlatNetlist:
    """Return all cells of a design as arrays."""
    return _Flattening(netlist).result()


@dataclass(frozen=True, kw_only=True)
class _Template:
    """One module as arrays of local nets."""

    module: Module
    index: int
    cell_type: NDArray[np.int32]
    n_in: NDArray[np.int32]
    in_nets: NDArray[np.int32]
    n_out: NDArray[np.int32]
    out_nets: NDArray[np.int32]
    port_nets: NDArray[np.int32]
    children: tuple[tuple[str, str, NDArray[np.int32]], ...]
    n_nets: int


class _Flattening:
    """The state of one `flatten` call."""

    def __init__(self, netlist: Netlist):
        self._netlist = netlist
        self._types = {cell.name: number for number, cell in enumerate(netlist.technology.cells)}
        self._ports = {module.name: module.ports for module in netlist.modules}
        self._templates = {m.name: self._template(m, i) for i, m in enumerate(netlist.modules)}
        self._n_nets = CONSTANTS
        self._n_cells = 0
        self._aliases: list[tuple[int, int]] = []
        self._parts: list[tuple[_Template, NDArray[np.int32]]] = []
        self._places: list[tuple[int, str]] = []

    def _template(self, module: Module, index: int) -> _Template:
        cells = self._netlist.technology.cells
        n_nets = len(module.net_names)
        in_nets: list[int] = []
        out_nets: list[int] = []
        kinds = []
        for instance in module.cells:
            kind = self._types[instance.type]
            kinds.append(kind)
            pins = dict(instance.pins)
            for pin in cells[kind].pins:
                in_nets.append(pins[pin][0] if pins.get(pin) else 0)
            for output in cells[kind].outputs:
                if pins.get(output.pin):
                    out_nets.append(pins[output.pin][0])
                else:  # open output: a net of its own
                    out_nets.append(n_nets)
                    n_nets += 1
        children = []
        for child in module.children:
            pins = dict(child.pins)
            nets: list[int] = []
            for port in self._ports[child.type]:
                bound = list(pins.get(port.name, ()))
                for _ in range(len(port.nets) - len(bound)):
                    bound.append(0 if port.direction == "input" else n_nets)
                    n_nets += port.direction == "output"
                nets += bound
            children.append((child.name, child.type, np.array(nets, dtype=np.int32)))
        return _Template(
            module=module,
            index=index,
            cell_type=np.array(kinds, dtype=np.int32),
            n_in=np.array([len(cells[kind].inputs) for kind in kinds], dtype=np.int32),
            in_nets=np.array(in_nets, dtype=np.int32),
            n_out=np.array([len(cells[kind].outputs) for kind in kinds], dtype=np.int32),
            out_nets=np.array(out_nets, dtype=np.int32),
            port_nets=np.array([net for port in module.ports for net in port.nets], dtype=np.int32),
            children=tuple(children),
            n_nets=n_nets,
        )

    def _place(self, name: str, path: str, port_nets: NDArray[np.int32]) -> None:
        """Place one instance of a module whose port bits are the given nets of the whole design."""
        template = self._templates[name]
        nets = np.full(template.n_nets, -1, dtype=np.int32)
        nets[:CONSTANTS] = range(CONSTANTS)
        for local, outer in zip(template.port_nets.tolist(), port_nets.tolist(), strict=True):
            if nets[local] < 0:
                nets[local] = outer
            elif nets[local] != outer:
                self._aliases.append((int(nets[local]), outer))
        inner = np.flatnonzero(nets < 0)
        nets[inner] = self._n_nets + np.arange(len(inner), dtype=np.int32)
        self._n_nets += len(inner)
        self._places.append((self._n_cells, path))
        self._n_cells += len(template.cell_type)
        self._parts.append((template, nets))
        for child, kind, bound in template.children:
            self._place(kind, f"{path}{child}.", nets[bound])

    def result(self) -> FlatNetlist:
        top = self._templates[self._netlist.top]
        n_ports = len(top.port_nets)
        self._n_nets += n_ports
        outer = np.arange(CONSTANTS, CONSTANTS + n_ports, dtype=np.int32)
        self._place(self._netlist.top, "", outer)
        final = self._final_nets()

        def starts(counts: Iterator[NDArray[np.int32]]) -> NDArray[np.int64]:
            return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(list(counts)), dtype=np.int64)])

        inputs: dict[str, NDArray[np.int32]] = {}
        outputs: dict[str, NDArray[np.int32]] = {}
        position = 0
        for port in top.module.ports:
            chosen = inputs if port.direction == "input" else outputs
            chosen[port.name] = final[outer[position : position + len(port.nets)]]
            position += len(port.nets)
        parts = self._parts
        return FlatNetlist(
            technology=self._netlist.technology,
            n_nets=self._n_nets,
            cell_type=np.concatenate([template.cell_type for template, _ in parts]),
            in_start=starts(template.n_in for template, _ in parts),
            in_nets=final[np.concatenate([nets[template.in_nets] for template, nets in parts])],
            out_start=starts(template.n_out for template, _ in parts),
            out_nets=final[np.concatenate([nets[template.out_nets] for template, nets in parts])],
            owner=np.concatenate([np.full(len(t.cell_type), t.index, dtype=np.int32) for t, _ in parts]),
            module_names=tuple(module.name for module in self._netlist.modules),
            inputs=inputs,
            outputs=outputs,
            instances=tuple(
                Placed(path=path, module=template.module, first_cell=first, nets=final[nets])
                for (first, path), (template, nets) in zip(self._places, parts, strict=True)
            ),
        )

    def _final_nets(self) -> NDArray[np.int32]:
        """Return the net that stands for each net, after joining the ones that a module ties together."""
        final = np.arange(self._n_nets, dtype=np.int32)

        def root(net: int) -> int:
            while final[net] != net:
                final[net] = final[final[net]]
                net = int(final[net])
            return net

        for a, b in self._aliases:
            low, high = sorted((root(a), root(b)))
            final[high] = low
        while True:
            shorter = final[final]
            if np.array_equal(shorter, final):
                return final
            final = shorter
