"""What a machine and a network cost, without training: the authority for the content of `tetrit cost`.

Area, events, times and energy by component, each a figure with its origin, source and bounds; beside it, where another
node is asked for, the same figure there. Arrays are moved by `tetrit.sim.cost.scaling`, scratchpads by
`tetrit.sim.cost.memory`, crossbars by `tetrit.sim.cost.peripherals`; off-chip memory stays as it is. What has no price
is listed.
"""

__all__ = [
    "ASSUMPTIONS",
    "SCHEMA",
    "SUMMED",
    "Costs",
    "Row",
    "Target",
    "Work",
    "cost",
    "off_chip_of",
    "read",
    "to_csv",
    "to_dict",
]

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import tetrit
from tetrit import checks, formats, hardware
from tetrit.errors import InvalidValueError
from tetrit.flow import compiling, config
from tetrit.flow.conv_config import ConvRunConfig
from tetrit.flow.costing import analog, digital
from tetrit.flow.costing.rows import Row, Target, added, by_origin, off_chip_rows, times
from tetrit.hls.mapping import OFF_CHIP, NetworkMapping, map_network
from tetrit.sim import Workload
from tetrit.sim.cost import memory
from tetrit.sim.cost.efficiency import Efficiency, efficiency
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.offchip import OffChip

SCHEMA = "tetrit-cost/1"
SUMMED = ("area", "energy")
"""Quantities whose components make a total."""

ASSUMPTIONS = (
    "areas are of cells and macros, without routing, clock tree, pads and empty space",
    "energies are of switching; leakage is given apart, and is in no total",
    "a network's layers run one after the other, one image at a time, as `tetrit compile` maps them",
    "at another node the same cycles are run, on a clock that is faster by the delay factor; off-chip memory is as "
    "fast as before",
    "bounds of a total are the sums of the bounds, as if all were off to the same side",
)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """All that is known.

    Attributes
    ----------
    machine : ShiftArray, SimdEngine or Crossbar
        With the prices that were filled in.
    pair : (str, str)
        Formats on a SIMD engine.
    target : Target
        The node of the second column.
    own_nm : float
        The node of the first.
    network : NetworkMapping or None
    rows : tuple of Row
        By quantity.
    missing : tuple of str
        What has no price.
    warnings : tuple of str
        What does not fit together.
    """

    machine: hardware.Machine
    pair: tuple[str, str]
    target: Target
    own_nm: float
    network: NetworkMapping | None
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def scaled_nm(self) -> float | None:
        """The node of the second column; None without one."""
        return None if self.target.node_nm == self.own_nm else self.target.node_nm

    def of(self, quantity: str) -> tuple[Row, ...]:
        """Return the rows of a quantity."""
        return tuple(row for row in self.rows if row.quantity == quantity)

    def _busy(self, end: str, latency: Figure) -> float:
        """Return the utilisation, which is less where off-chip memory is too slow for a faster clock."""
        assert self.network is not None
        clock = next((row for row in self.of("time") if row.component == "clock period"), None)
        if end == "own" or clock is None or clock.scaled is None:
            return self.network.utilization
        return self.network.utilization * self.network.cycles * clock.scaled.value * 1e-3 / latency.value

    def total(self, quantity: str) -> Row:
        """Return the sum of the rows of a quantity; it has no scaled figure if one of them has none."""
        rows = self.of(quantity)
        scaled = [row.scaled for row in rows if row.scaled is not None]
        return Row(
            quantity=quantity,
            component="total",
            own=added([row.own for row in rows]),
            scaled=added(scaled) if rows and len(scaled) == len(rows) else None,
        )

    def efficiency(self, end: Literal["own", "scaled"] = "own") -> Efficiency | None:
        """Return the throughput of the network, and over its energy and area; None without one, or figures there."""
        area, energy = (getattr(self.total(quantity), end) if self.of(quantity) else None for quantity in SUMMED)
        latency = next((getattr(row, end) for row in self.of("latency")), None)
        if self.network is None or area is None or energy is None or latency is None:
            return None
        if isinstance(self.machine, hardware.SimdEngine):
            act, weight = (formats.get(name).bits for name in self.pair)
            result = "exact sums, rounded once"
        else:
            act, weight = self.machine.activations.bits, self.machine.weights.bits
            result = "converted sums"
            if isinstance(self.machine, hardware.ShiftArray):
                result = f"{self.machine.acc_bits}-bit sums, exact"
        return efficiency(
            macs=self.network.macs,
            time_us=latency.value,
            energy_pj=times(energy, 1e6, "pJ"),
            area_mm2=area,
            act_bits=act,
            weight_bits=weight,
            result=result,
            in_energy=[row.component for row in self.of("energy")],
            in_area=[row.component for row in self.of("area")],
            utilization=self._busy(end, latency),
        )


def cost(
    machine: hardware.Machine,
    network: Sequence[tuple[str, Workload, int]] | None = None,
    *,
    target: Target | None = None,
    off_chip: OffChip | hardware.Memory | None = None,
    pair: tuple[str, str] = ("posit8_0", "posit8_0"),
    nonzero: float = 1.0,
    arrays: int | None = None,
    memories: Literal["machine", "model"] = "machine",
) -> Costs:
    """Return what a machine costs, and what a network on it.

    Parameters
    ----------
    machine : ShiftArray, SimdEngine or Crossbar
        Its memories that say "not priced" get the prices of `tetrit.sim.cost.memory.priced`.
    network : sequence of (name, Workload, count), optional
        Matrix products, in order.
    target : Target, optional
        Another node.
    off_chip : OffChip or Memory, optional
        None: operands are in the scratchpads at no cost.
    pair, nonzero, arrays
        `formats`, `nonzero` and `arrays` of `tetrit.hls.map_network`.
    memories : {"machine", "model"}
        Whether scratchpads that have prices keep them, or all get those of the model.

    Raises
    ------
    InvalidValueError
        A node beyond the table, or what `tetrit.hls.map_network` refuses.

    Examples
    --------
    >>> from tetrit import hardware
    >>> from tetrit.flow.costing import Target, cost
    >>> found = cost(hardware.load("shift_16x16"), target=Target(node_nm=28))
    >>> row = found.of("area")[0]
    >>> row.component, row.own.origin, row.scaled.value < 0.1 * row.own.value
    ('processing elements', 'modelled', True)
    """
    target = Target() if target is None else target
    if checks.choice("memories", memories, ("machine", "model")) == "model":
        machine = memory.unpriced(machine)
    machine = memory.priced(machine)
    beyond = off_chip.memory(machine.clock_mhz) if isinstance(off_chip, OffChip) else off_chip
    mapped = None
    if network is not None:
        mapped = map_network(network, machine, off_chip=beyond, formats=pair, nonzero=nonzero, arrays=arrays)
    if isinstance(machine, hardware.Crossbar):
        own_nm = analog.NODE_NM
        rows, missing, warnings = analog.rows(machine, mapped, target)
    else:
        own_nm = digital.NODE_NM
        rows, missing, warnings = digital.rows(machine, mapped, target, pair)
    rows += off_chip_rows(mapped, off_chip)
    order = {name: place for place, name in enumerate(dict.fromkeys(row.quantity for row in rows))}
    return Costs(
        machine=machine,
        pair=pair,
        target=target,
        own_nm=own_nm,
        network=mapped,
        rows=tuple(sorted(rows, key=lambda row: order[row.quantity])),
        missing=tuple(missing),
        warnings=tuple(warnings),
    )


def to_dict(found: Costs, *, name: str, network: str | None) -> dict[str, Any]:
    """Return the content of ``cost.json``."""
    mapped = found.network
    return {
        "schema": SCHEMA,
        "tetrit": tetrit.__version__,
        "name": name,
        "machine": hardware.to_dict(found.machine),
        "node_nm": found.own_nm,
        "scaled_to": None if found.scaled_nm is None else found.target.table_entry(),
        "network": None
        if mapped is None
        else {
            "name": network,
            "layers": len(mapped.layers),
            "macs": mapped.macs,
            "cycles": mapped.cycles,
            "latency_us": mapped.latency_us,
            "utilization": mapped.utilization,
        },
        "rows": [_written(row) for row in found.rows],
        "totals": [
            _written(found.total(quantity)) | {"by_origin": by_origin([row.own for row in found.of(quantity)])}
            for quantity in SUMMED
            if found.of(quantity)
        ],
        "efficiency": _efficiency(found),
        "missing": list(found.missing),
        "warnings": list(found.warnings),
        "assumptions": list(ASSUMPTIONS),
    }


def to_csv(found: Costs) -> str:
    """Return all rows as CSV, one a line; the scaled figure's cells are empty where there is none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    keys = ("value", "low", "high", "unit", "origin", "source")
    writer.writerow(["quantity", "component", *keys, *(f"scaled_{key}" for key in keys)])
    for row in found.rows:
        ends = [[getattr(end, key) for key in keys] if end is not None else [""] * 6 for end in (row.own, row.scaled)]
        writer.writerow([row.quantity, row.component, *ends[0], *ends[1]])
    return buffer.getvalue()


def off_chip_of(kind: str | None) -> OffChip | hardware.Memory | None:
    """Return off-chip memory by its kind; "none": none; None: what `tetrit.hls.map_network` takes by default.

    Raises
    ------
    UnknownNameError
        No such kind; the message suggests the nearest.
    """
    if kind is None:
        return OFF_CHIP
    return None if kind == "none" else OffChip.of(kind)


def _efficiency(found: Costs) -> dict[str, Any] | None:
    ends = {end: found.efficiency(end) for end in ("own", "scaled")}
    own = ends["own"]
    if own is None:
        return None
    return {"definition": own.definition} | {
        end: None if each is None else {name: asdict(figure) for name, figure in each.figures().items()}
        for end, each in ends.items()
    }


def _written(row: Row) -> dict[str, Any]:
    return {
        "quantity": row.quantity,
        "component": row.component,
        "own": asdict(row.own),
        "scaled": None if row.scaled is None else asdict(row.scaled),
    }


@dataclass(frozen=True, kw_only=True)
class Work:
    """A network to be costed.

    Attributes
    ----------
    name : str
    products : list of (str, Workload, int)
        Name, matrix product and count of each layer.
    machine : ShiftArray, SimdEngine or Crossbar or None
        That its file names, if any.
    """

    name: str
    products: list[tuple[str, Workload, int]]
    machine: hardware.Machine | None = None


def read(source: str, shapes: Mapping[str, Sequence[int]] | None = None) -> Work:
    """Read a network: what `tetrit.flow.compiling.read_network` reads, or a perceptron's run configuration (``.toml``).

    Parameters
    ----------
    source : str
    shapes : mapping of str to sequence of int, optional
        Of inputs of an ONNX file with dynamic dimensions.

    Raises
    ------
    InvalidValueError
        What these refuse, or a configuration of another kind of network.
    """
    path = Path(source)
    if path.suffix != ".toml" or shapes:  # which no configuration has: that refuses them
        found = compiling.read_network(source, shapes)
        return Work(name=found.name, products=found.workloads)
    run = config.load(path)
    if isinstance(run, ConvRunConfig):
        raise InvalidValueError(
            f"{source}: the layers of a convolutional configuration are known once it is trained; give an ONNX file or "
            "a perceptron's configuration"
        )
    sizes = (DIGITS[0], *run.training.hidden, DIGITS[1])
    layers = [(f"layer {place + 1}", Workload(m=1, k=k, n=n), 1) for place, (k, n) in enumerate(pairwise(sizes))]
    return Work(name=path.stem, products=layers, machine=run.machine)


DIGITS = (64, 10)
"""Pixels and classes of the digits that run configurations train on."""
