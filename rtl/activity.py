"""The authority for switching activity: a cycle-based, zero-delay simulation that counts toggles."""

__all__ = ["Activity", "Clocks", "simulate"]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit.checks import integer, real
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.hardware.technology import Cell
from tetrit.rtl import _kernels, boolean
from tetrit.rtl.energy import Energy, price
from tetrit.rtl.flat import FlatNetlist, flatten
from tetrit.rtl.netlist import Netlist
from tetrit.rtl.timing import logic_order

_NONE = np.uint64(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """What a simulated netlist did.

    Attributes
    ----------
    flat : FlatNetlist
        The netlist.
    n_cycles : int
        Cycles that were counted, without warm-up.
    outputs : mapping of str to uint8 array, shape (cycles, width)
        Bits of every output in every cycle, warm-up included, bit 0 first; sampled before the clock edge that ends
        the cycle.
    toggles : int64 array, shape (n_nets,)
        Changes of each net's settled value from one counted cycle to the next; clock nets have none here.
    high : float64 array, shape (n_nets,)
        Share of the counted time in which each net was 1.
    ticks : int64 array, shape (1 + number of clock gates,)
        Counted clock edges of the clock itself and behind each gate.
    clock_of : int64 array, shape (n_cells,)
        Clock of each register and clock gate, counting `ticks`; -1 for logic.
    n_unknown : int
        Nets whose value was unknown at times, in a file of a simulator that knows such values: they may have toggled
        more often than was counted. In `simulate` registers start at 0, so there are none.
    """

    flat: FlatNetlist
    n_cycles: int
    outputs: Mapping[str, NDArray[np.uint8]]
    toggles: NDArray[np.int64]
    high: NDArray[np.float64]
    ticks: NDArray[np.int64]
    clock_of: NDArray[np.int64]
    n_unknown: int = 0

    def value(self, name: str, *, signed: bool = False) -> NDArray[Any]:
        """Return an output as integers, shape (cycles,); of dtype object beyond 63 bits.

        Raises
        ------
        UnknownNameError
            If there is no such output.
        """
        if name not in self.outputs:
            raise unknown_name("output", name, self.outputs)
        bits = self.outputs[name]
        width = bits.shape[1]
        weights: list[int] = [1 << i for i in range(width)]
        if signed:
            weights[-1] = -weights[-1]
        kind = np.int64 if width <= 63 or (signed and width == 64) else object
        return bits.astype(kind) @ np.array(weights, dtype=kind)

    def write_saif(self, path: str | Path, *, period_ns: float = 10.0) -> None:
        """Write the activity as SAIF; see `tetrit.rtl.saif.write_saif`."""
        from tetrit.rtl.saif import write_saif

        write_saif(self, path, period_ns=period_ns)

    def energy(self, period_ns: float) -> Energy:
        """Return the energy per cycle.

        Each toggle of a net costs what its driving cell dissipates inside plus C V^2 / 2 of its load (input pins, and
        wire per fan-out); each clock edge costs C V^2 of the clock pins that it reaches. Where the library states what
        a cell dissipates when an input pin changes, that is counted too; the embedded table does not, so there what
        registers dissipate at a clock edge that does not change them is not counted. A library with full tables is
        looked up at each load and transition.

        Parameters
        ----------
        period_ns : float
            Clock period, over which cells leak.

        Raises
        ------
        LibertyError
            If the library states no energy or no leakage of a cell in the netlist.
        """
        real("period_ns", period_ns, minimum=0, exclusive=True)
        return price(self.flat, self.toggles, self.ticks, self.clock_of, self.n_cycles, period_ns)


def simulate(netlist: Netlist, inputs: Mapping[str, ArrayLike], *, n_warmup: int = 1) -> Activity:
    """Simulate a mapped netlist cycle by cycle, without delays, and count toggles.

    In each cycle the inputs take their values, the logic settles, outputs are sampled, and the clock ticks once.
    Registers start at 0. Glitches are not seen.

    Parameters
    ----------
    netlist : Netlist
        The design, e.g. ``synthesize(...).structure``.
    inputs : mapping of str to array_like
        Values of the input ports per cycle: integers of shape (cycles,), or bits of shape (cycles, width), bit 0
        first. Ports that are not named stay 0; clocks tick by themselves and must not be named.
    n_warmup : int
        Cycles at the start that are not counted; at least 1, since the first cycle has none to compare with.

    Returns
    -------
    Activity
        Outputs and toggle counts.

    Raises
    ------
    UnknownNameError
        If there is no such input.
    InvalidValueError
        If a value does not fit its port, lengths differ, a clock is named, or the netlist has a loop or a gated clock
        of a kind that synthesis does not make.
    """
    integer("n_warmup", n_warmup)
    flat = flatten(netlist)
    order = logic_order(flat)
    clocks = Clocks(flat)
    stimulus, input_nets = _stimulus(flat, inputs, clocks.root_nets)
    if len(stimulus) <= n_warmup:
        raise InvalidValueError(f"`inputs` must have more than `n_warmup` = {n_warmup} cycles, got {len(stimulus)}")
    output_nets = np.concatenate([np.zeros(0, np.int32), *flat.outputs.values()])
    outputs = np.zeros((len(stimulus), len(output_nets)), dtype=np.uint8)
    toggles = np.zeros(flat.n_nets, dtype=np.int64)
    ones = np.zeros(flat.n_nets, dtype=np.int64)
    ticks = np.zeros(len(clocks.gates) + 1, dtype=np.int64)
    values = np.zeros(flat.n_nets, dtype=np.uint8)
    values[1] = 1
    cells = flat.technology.cells
    tables = [_table(cell, out.function if cell.role == "logic" else "") for cell in cells for out in cell.outputs]
    inverted = np.array([out.function == "IQN" for cell in cells for out in cell.outputs], dtype=np.uint8)
    flops = np.flatnonzero(flat.gather([cell.role == "flop" for cell in cells])).astype(np.int32)

    def of_flops(name: str) -> NDArray[np.uint64]:
        chosen = [_table(cell, getattr(cell, name)) if cell.role == "flop" else _NONE for cell in cells]
        return np.array(chosen, dtype=np.uint64)[flat.cell_type[flops]]

    gate_tables = [_table(cell, cell.data) if cell.role == "clock_gate" else _NONE for cell in cells]
    _kernels.simulate(
        values,
        order,
        flat.in_start,
        flat.in_nets,
        flat.out_start,
        flat.out_nets,
        np.array(tables, dtype=np.uint64)[flat.out_kind],
        flops,
        of_flops("data"),
        of_flops("clear"),
        of_flops("preset"),
        inverted[flat.out_kind],
        clocks.clock_of[flops],
        clocks.gates,
        np.array(gate_tables, dtype=np.uint64)[flat.cell_type[clocks.gates]],
        clocks.clock_of[clocks.gates],
        input_nets,
        stimulus,
        output_nets,
        outputs,
        n_warmup,
        toggles,
        ones,
        ticks,
    )
    named: dict[str, NDArray[np.uint8]] = {}
    position = 0
    for name, nets in flat.outputs.items():
        named[name] = outputs[:, position : position + len(nets)]
        position += len(nets)
    n_cycles = len(stimulus) - n_warmup
    high = ones / n_cycles
    for net, number in clocks.number_of_net.items():
        high[net] = 0.5 * ticks[number] / n_cycles
    return Activity(
        flat=flat,
        n_cycles=n_cycles,
        outputs=MappingProxyType(named),
        toggles=toggles,
        high=high,
        ticks=ticks,
        clock_of=clocks.clock_of,
    )


def _table(cell: Cell, function: str) -> np.uint64:
    return np.uint64(boolean.truth_table(function, cell.pins)) if function else _NONE


class Clocks:
    """Which clock each register and clock gate has.

    Parameters
    ----------
    flat : FlatNetlist

    Attributes
    ----------
    gates : int32 array
        The clock gates, each after the one that feeds it.
    clock_of : int64 array, shape (n_cells,)
        Counts the clock itself (0) and the gates; -1 for logic.
    number_of_net : dict of int to int
        The same of each net that clocks something.
    root_nets : set of int
        Nets of clock ports.

    Raises
    ------
    InvalidValueError
        If a clock comes from elsewhere, or its falling edge counts.
    """

    def __init__(self, flat: FlatNetlist):
        cells = flat.technology.cells
        is_gate = flat.gather([cell.role == "clock_gate" for cell in cells])
        clocked = np.flatnonzero(flat.gather([cell.role in ("flop", "clock_gate") for cell in cells]))
        pins = np.array([c.pins.index(c.clock_pin) if c.clock else 0 for c in cells])[flat.cell_type]
        nets = flat.in_nets[flat.in_start[clocked] + pins[clocked]]
        self.number_of_net: dict[int, int] = {}
        self.gates = np.flatnonzero(is_gate).astype(np.int32)
        for number, gate in enumerate(self.gates.tolist(), start=1):
            self.number_of_net[int(flat.out_nets[flat.out_start[gate]])] = number
        self.root_nets: set[int] = set()
        self.clock_of = np.full(flat.n_cells, -1, dtype=np.int64)
        for cell, net in zip(clocked.tolist(), nets.tolist(), strict=True):
            if flat.cell(cell).clock.startswith("!"):
                raise InvalidValueError(
                    f"register '{flat.cell_name(cell)}' has a falling-edge clock, which is not supported"
                )
            if net not in self.number_of_net:
                if not flat.is_port_net[net]:
                    raise InvalidValueError(
                        f"the clock of '{flat.cell_name(cell)}' is neither a port nor a clock gate's output"
                    )
                self.number_of_net[net] = 0
                self.root_nets.add(net)
            self.clock_of[cell] = self.number_of_net[net]
        parents = self.clock_of[self.gates]
        if np.any(parents > np.arange(len(self.gates))):
            raise InvalidValueError("a clock gate is fed by a later one, which is not supported")


def _stimulus(
    flat: FlatNetlist, inputs: Mapping[str, ArrayLike], clock_nets: set[int]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return bits per cycle and their nets."""
    columns = []
    nets = []
    for name, values in inputs.items():
        if name not in flat.inputs:
            raise unknown_name("input", name, flat.inputs)
        if clock_nets.intersection(flat.inputs[name].tolist()):
            raise InvalidValueError(f"input '{name}' is a clock: it ticks by itself")
        columns.append(_bits(name, values, len(flat.inputs[name])))
        nets.append(flat.inputs[name])
    if not columns:
        raise InvalidValueError("`inputs` must name at least one input, to tell the number of cycles")
    lengths = {name: len(column) for name, column in zip(inputs, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidValueError(f"`inputs` must all have the same number of cycles, got {told}")
    return np.ascontiguousarray(np.concatenate(columns, axis=1)), np.concatenate(nets).astype(np.int32)


def _bits(name: str, values: ArrayLike, width: int) -> NDArray[np.uint8]:
    """Return integers of shape (cycles,) or bits of shape (cycles, width) as bits."""
    array = np.asarray(values)
    if array.ndim == 2:
        if array.shape[1] != width or not np.isin(array, (0, 1)).all():
            raise InvalidValueError(
                f"input '{name}' must have bits of shape (cycles, {width}), got shape {array.shape}"
            )
        return array.astype(np.uint8)
    if array.dtype.kind not in "iubO":
        raise TypeError(f"input '{name}' must hold integers, got {array.dtype}")
    if array.ndim != 1:
        raise InvalidValueError(f"input '{name}' must have shape (cycles,) or (cycles, {width}), got {array.shape}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if len(array) and (int(array.min()) < -(1 << (width - 1)) or int(array.max()) >= 1 << width):
        bad = int(array.min()) if int(array.min()) < -(1 << (width - 1)) else int(array.max())
        raise InvalidValueError(f"input '{name}' must fit {width} bits, got {bad}")
    wide = array.astype(object) if width > 63 else array
    columns = [np.asarray((wide >> bit) & 1, dtype=np.uint8) for bit in range(width)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(array), 0), dtype=np.uint8)
