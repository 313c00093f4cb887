"""The authority for buffer trees: no net of a mapped netlist but the ideal clock carries more than a stated load."""

__all__ = ["MAX_LOAD_FF", "buffer_cell", "insert_buffers"]

from collections import defaultdict
from dataclasses import replace

from tetrit.hardware.technology import Cell, Technology
from tetrit.rtl.liberty import gates
from tetrit.rtl.netlist import CONSTANTS, Instance, Module, Netlist

MAX_LOAD_FF = 120.0

# (is a child module, instance, pin, bit)
_Sink = tuple[bool, int, str, int]


def buffer_cell(technology: Technology) -> Cell:
    """Return the buffer with the least product of area and delay at the highest load."""

    def cost(cell: Cell) -> float:
        output = cell.outputs[0]
        return cell.area_um2 * (output.delay_worst_ps + output.delay_ps_per_ff * MAX_LOAD_FF)

    return min(gates(technology, 1, (0b10,)), key=cost)


def insert_buffers(netlist: Netlist) -> Netlist:
    """Split every net that carries more than `MAX_LOAD_FF` by a tree of buffers, module by module.

    Clock nets and constants stay as they are: the clock is ideal. A net's sinks are grouped in their order, so the
    result is deterministic.
    """
    work = _Buffering(netlist.technology)
    return replace(netlist, modules=tuple(work.module(module) for module in netlist.modules))


class _Buffering:
    """What is known of the modules done so far: load and kind of each of their input bits."""

    def __init__(self, technology: Technology):
        self._technology = technology
        self._buffer = buffer_cell(technology)
        self._cells = {cell.name: cell for cell in technology.cells}
        self._loads: dict[tuple[str, str, int], float] = {}
        self._clocks: set[tuple[str, str, int]] = set()
        self._outputs: set[tuple[str, str]] = set()

    def module(self, module: Module) -> Module:
        sinks: dict[int, list[tuple[_Sink, float]]] = defaultdict(list)
        clocks: set[int] = set()
        for is_child, instances in ((False, module.cells), (True, module.children)):
            for number, instance in enumerate(instances):
                for pin, nets in instance.pins:
                    for bit, net in enumerate(nets):
                        self._look(is_child, number, instance, pin, bit, net, sinks, clocks)
        names = list(module.net_names)
        moved: dict[_Sink, int] = {}
        buffers: list[Instance] = []
        for net in sorted(sinks):
            if net < CONSTANTS or net in clocks:
                continue
            level = sinks[net]
            while sum(load for _, load in level) > MAX_LOAD_FF and len(level) > 1:
                above: list[tuple[_Sink, float]] = []
                for group in self._groups(level):
                    names.append(f"{names[net].replace('[', '_').rstrip(']')}_buf{len(buffers)}")
                    for sink, _ in group:
                        moved[sink] = len(names) - 1
                    above.append(
                        (
                            (False, len(module.cells) + len(buffers), self._buffer.pins[0], 0),
                            self._pin_load(self._buffer, 0),
                        )
                    )
                    pins = ((self._buffer.pins[0], (net,)), (self._buffer.outputs[0].pin, (len(names) - 1,)))
                    buffers.append(Instance(name=f"buf{len(buffers)}", type=self._buffer.name, pins=pins))
                if len(above) >= len(level):
                    break
                level = above
            sinks[net] = level
        done = replace(
            module,
            cells=tuple(self._rewired(False, n, c, moved) for n, c in enumerate((*module.cells, *buffers))),
            children=tuple(self._rewired(True, n, c, moved) for n, c in enumerate(module.children)),
            net_names=tuple(names),
        )
        self._remember(done, sinks, clocks)
        return done

    def _pin_load(self, cell: Cell, index: int) -> float:
        return cell.inputs[index][1] + self._technology.wire_cap_ff_per_fanout

    def _look(
        self,
        is_child: bool,
        number: int,
        instance: Instance,
        pin: str,
        bit: int,
        net: int,
        sinks: dict[int, list[tuple[_Sink, float]]],
        clocks: set[int],
    ) -> None:
        """Note one pin bit as a sink of its net."""
        if is_child:
            key = (instance.type, pin, bit)
            if (instance.type, pin) in self._outputs:
                return
            load = self._loads.get(key, 0.0)
            if key in self._clocks:
                clocks.add(net)
        else:
            cell = self._cells[instance.type]
            if pin not in cell.pins:
                return
            load = self._pin_load(cell, cell.pins.index(pin))
            if cell.role != "logic" and pin == cell.clock_pin:
                clocks.add(net)
        sinks[net].append(((is_child, number, pin, bit), load))

    def _groups(self, level: list[tuple[_Sink, float]]) -> list[list[tuple[_Sink, float]]]:
        """Split sinks into as few groups as the load allows, of about equal load."""
        total = sum(load for _, load in level)
        share = total / -(-total // MAX_LOAD_FF)
        groups: list[list[tuple[_Sink, float]]] = [[]]
        filled = 0.0
        for sink in level:
            if groups[-1] and (filled + sink[1] > MAX_LOAD_FF or filled >= share):
                groups.append([])
                filled = 0.0
            groups[-1].append(sink)
            filled += sink[1]
        return groups

    @staticmethod
    def _rewired(is_child: bool, number: int, instance: Instance, moved: dict[_Sink, int]) -> Instance:
        pins = tuple(
            (pin, tuple(moved.get((is_child, number, pin, bit), net) for bit, net in enumerate(nets)))
            for pin, nets in instance.pins
        )
        return instance if pins == instance.pins else replace(instance, pins=pins)

    def _remember(self, module: Module, sinks: dict[int, list[tuple[_Sink, float]]], clocks: set[int]) -> None:
        """Note what the module's ports are to its parents."""
        for port in module.ports:
            if port.direction == "output":
                self._outputs.add((module.name, port.name))
                continue
            for bit, net in enumerate(port.nets):
                self._loads[module.name, port.name, bit] = sum(load for _, load in sinks.get(net, []))
                if net in clocks:
                    self._clocks.add((module.name, port.name, bit))
