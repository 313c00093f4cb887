"""Mapping a network: every product onto a machine, groups side by side where that is cheaper, and the totals."""

__all__ = ["LayerMapping", "NetworkMapping", "map_network"]

from collections.abc import Iterable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, Machine, Memory, ShiftArray, SimdEngine
from tetrit.hls.compile import check_machine
from tetrit.hls.mapping import crossbar, shift, simd
from tetrit.hls.mapping.layer import Settings, Solution
from tetrit.hls.mapping.memory import OFF_CHIP, Traffic, off_chip_bits
from tetrit.sim import Workload

MOST_SIDE = 1 << 31
MOST_MACS = 1 << 56
"""Of one product, so that counts of bits and cycles are integers of 64 bits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerMapping:
    """A layer on a machine: `count` equal products, of which `packed` run side by side.

    Attributes
    ----------
    name : str
        Of the layer.
    workload : Workload
        One product.
    count : int
        How many of them the layer has: groups of a convolution, heads of attention.
    packed : int
        Groups that run as one product with a block-diagonal weight matrix; zeros elsewhere.
    solution : Solution
        The mapping of such a product.
    """

    name: str
    workload: Workload
    count: int
    packed: int
    solution: Solution

    @property
    def runs(self) -> int:
        """Products that are run, one after the other."""
        return self.count // self.packed

    @property
    def mapping(self) -> Any:
        """The `Tiling`, `SimdTiling` or `CrossbarTiling` of each."""
        return self.solution.tiling

    @property
    def macs(self) -> int:
        """Multiply-accumulates that were asked for."""
        return self.workload.macs * self.count

    @property
    def cycles(self) -> int:
        """Of the slower of array and off-chip memory."""
        return self.solution.cycles * self.runs

    @property
    def array_cycles(self) -> int:
        """Of the array, as its cycle model has them."""
        return self.solution.array_cycles * self.runs

    @property
    def off_chip_cycles(self) -> int:
        """Of off-chip memory."""
        return self.solution.off_chip_cycles * self.runs

    @property
    def utilization(self) -> float:
        """Multiply-accumulates over what the array could do in `cycles`, 0..1."""
        return self.macs / (self.cycles * self.solution.peak_macs)

    @property
    def breakdown(self) -> dict[str, float]:
        """Energy in pJ by component."""
        return {name: energy * self.runs for name, energy in self.solution.breakdown.items()}

    @property
    def energy_pj(self) -> float:
        """Energy of the layer."""
        return self.solution.energy_pj * self.runs

    @property
    def traffic(self) -> dict[str, Traffic]:
        """Bytes read and written by memory."""
        return {name: moved * self.runs for name, moved in self.solution.traffic.items()}

    @property
    def off_chip_bytes(self) -> int:
        """Bytes to and from off-chip memory."""
        moved = self.traffic.get("off-chip memory", Traffic(read_bytes=0, write_bytes=0))
        return moved.read_bytes + moved.write_bytes

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: multiply-accumulates per off-chip byte; infinite without off-chip memory."""
        return self.macs / self.off_chip_bytes if self.off_chip_bytes else float("inf")

    @property
    def macs_per_cycle(self) -> float:
        """Speed that was reached."""
        return self.macs / self.cycles

    @property
    def bound(self) -> str:
        """What limits the layer: ``compute`` or ``memory``."""
        return "memory" if self.off_chip_cycles > self.array_cycles else "compute"

    @property
    def optimal(self) -> bool:
        """Whether the mapping is proven to be the best of the search's space on the model."""
        return self.solution.optimal


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkMapping:
    """A network on a machine, layer after layer.

    Attributes
    ----------
    machine : ShiftArray, SimdEngine or Crossbar
    settings : Settings
        What the search was told.
    layers : tuple of LayerMapping
        In order.
    """

    machine: Machine
    settings: Settings
    layers: tuple[LayerMapping, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def cycles(self) -> int:
        """Cycles of all layers, one after the other."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def latency_us(self) -> float:
        """Time at the machine's clock."""
        return self.cycles / self.machine.clock_mhz

    @property
    def energy_pj(self) -> float:
        """Energy of all layers."""
        return float(sum(layer.energy_pj for layer in self.layers))

    @property
    def breakdown(self) -> dict[str, float]:
        """Energy in pJ by component."""
        total: dict[str, float] = {}
        for layer in self.layers:
            for name, energy in layer.breakdown.items():
                total[name] = total.get(name, 0.0) + energy
        return total

    @property
    def traffic(self) -> dict[str, Traffic]:
        """Bytes read and written by memory."""
        total: dict[str, Traffic] = {}
        for layer in self.layers:
            for name, moved in layer.traffic.items():
                total[name] = total.get(name, Traffic(read_bytes=0, write_bytes=0)) + moved
        return total

    @property
    def utilization(self) -> float:
        """Multiply-accumulates over what the arrays could have done meanwhile, 0..1."""
        return self.macs / sum(layer.cycles * layer.solution.peak_macs for layer in self.layers)

    @property
    def bandwidth_bytes_per_cycle(self) -> float:
        """Of off-chip memory; infinite without one."""
        width = off_chip_bits(self.settings.off_chip)
        return width / 8 if width else float("inf")

    @property
    def optimal(self) -> bool:
        """Whether every layer's mapping is proven to be the best."""
        return all(layer.optimal for layer in self.layers)


def map_network(
    network: Any,
    machine: Machine,
    cost: str = "latency",
    *,
    off_chip: Memory | None = OFF_CHIP,
    nonzero: float = 1.0,
    formats: tuple[str, str] = ("posit8_0", "posit8_0"),
    arrays: int | None = None,
    effort: int = 300,
) -> NetworkMapping:
    """Choose for every layer of a network how it runs on a machine, at least cost.

    Contract: cycles of the array are exactly those of its cycle model (`tetrit.sim`), energy is priced by the tables of
    `tetrit.sim.cost`. Where `LayerMapping.optimal` says so, no mapping of the documented space costs less on the model.
    The same arguments give the same mapping.

    Parameters
    ----------
    network : Graph, or sequence of Workload, (name, Workload) or (name, Workload, count)
        The products, in order.
    machine : ShiftArray, SimdEngine or Crossbar
        Target.
    cost : {"latency", "energy", "edp"}
        What is made least for each layer: cycles, pJ, or their product.
    off_chip : Memory or None
        What lies beyond the scratchpads; None: nothing, operands are there. See `tetrit.hls.mapping.memory` for the
        assumptions.
    nonzero : float
        Share of weights that are not zero, 0..1, for the energy of arrays that skip zeros.
    formats : (str, str)
        Of activations and weights on a SIMD engine.
    arrays : int, optional
        Arrays of a crossbar that each layer can have; by default as many as one copy of its weights takes.
    effort : int
        Thousands of tiles run, and of bounds taken, for a product; more may prove more.

    Returns
    -------
    NetworkMapping

    Raises
    ------
    TypeError
        What is no network, machine or memory.
    InvalidValueError
        No products, an unknown cost, formats that the machine lacks, or memories that are too small; the message names
        the layer.

    Examples
    --------
    >>> from tetrit import hardware, hls, sim
    >>> layer = sim.Workload(m=49, k=4608, n=512)
    >>> found = hls.map_network([("conv5", layer)], hardware.load("shift_16x16"))
    >>> found.cycles, found.layers[0].bound, found.optimal
    (451634, 'compute', True)
    """
    if not isinstance(machine, Machine):
        raise TypeError(f"`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got {machine!r}")
    check_machine(machine)
    act_format, weight_format = formats
    settings = Settings(
        cost=cost,
        off_chip=off_chip,
        nonzero=nonzero,
        act_format=act_format,
        weight_format=weight_format,
        arrays=arrays,
        effort=effort,
    )
    layers = []
    known: dict[tuple[Workload, int], tuple[int, Solution]] = {}
    for name, workload, count in _products(network):
        if (workload, count) not in known:
            try:
                _check_size(workload)
                known[workload, count] = _packed(workload, count, machine, settings)
            except InvalidValueError as error:
                raise InvalidValueError(f"layer '{name}': {error}") from None
        packed, solution = known[workload, count]
        layers.append(LayerMapping(name=name, workload=workload, count=count, packed=packed, solution=solution))
    if not layers:
        raise InvalidValueError("a network needs at least one matrix product to be mapped")
    return NetworkMapping(machine=machine, settings=settings, layers=tuple(layers))


def _products(network: Any) -> Iterable[tuple[str, Workload, int]]:
    """Return name, product and count of each layer."""
    given = network.workloads() if hasattr(network, "workloads") else network
    if isinstance(given, str | bytes | MappingType) or not isinstance(given, Iterable):
        raise TypeError(f"`network` must be a Graph or a sequence of workloads, got {network!r}")
    products = []
    for place, entry in enumerate(given):
        name, workload, count = f"layer {place}", entry, 1
        if isinstance(entry, tuple) and len(entry) in (2, 3):
            name, workload, count = (*entry, 1)[:3]
        if not isinstance(workload, Workload) or not isinstance(name, str):
            raise TypeError(
                f"entry {place} of `network` must be a Workload, (name, Workload) or (name, Workload, count), "
                f"got {entry!r}"
            )
        products.append((name, workload, checks.integer(f"count of '{name}'", count)))
    return products


def _check_size(workload: Workload) -> None:
    for name, size in vars(workload).items():
        if size > MOST_SIDE:
            raise InvalidValueError(f"`{name}` must be at most {MOST_SIDE:,} to be mapped, got {size:,}")
    if workload.macs > MOST_MACS:
        raise InvalidValueError(f"a product must have at most {MOST_MACS:,} MACs to be mapped, got {workload.macs:,}")


def _packed(workload: Workload, count: int, machine: Machine, settings: Settings) -> tuple[int, Solution]:
    """Return how many groups run side by side, and the mapping of such a product."""
    best: tuple[float, int, Solution] | None = None
    for packed in range(1, count + 1):
        if count % packed or (packed > 1 and not _worth(workload, packed, machine)):
            continue
        runs = count // packed
        solution = _solve(workload, packed, machine, settings)
        cost = solution.cost(settings.cost) * (runs**2 if settings.cost == "edp" else runs)
        if best is None or cost < best[0]:
            best = cost, packed, solution
    assert best is not None
    return best[1:]


def _worth(workload: Workload, packed: int, machine: Machine) -> bool:
    """Return whether groups side by side can be had, and are not more tiles than one after the other."""
    if isinstance(machine, SimdEngine):
        return False
    if not bool((machine.weights.values == 0).any()):
        return False
    cols = machine.cols if isinstance(machine, ShiftArray) else machine.outputs_per_array
    tiles = -(-packed * workload.k // machine.rows) * -(-packed * workload.n // cols)
    return tiles < packed * -(-workload.k // machine.rows) * -(-workload.n // cols)


def _solve(workload: Workload, packed: int, machine: Machine, settings: Settings) -> Solution:
    product = Workload(m=workload.m, k=workload.k * packed, n=workload.n * packed)
    if isinstance(machine, ShiftArray):
        active = workload.macs * packed
        if settings.nonzero < 1.0:
            if not bool((machine.weights.values == 0).any()):
                raise InvalidValueError(
                    f"`nonzero` must be 1 for {machine.weight_format}, which has no zero, got {settings.nonzero:g}"
                )
            active = int(np.rint(active * settings.nonzero))
        return shift.solve(product, active, machine, settings)
    if isinstance(machine, SimdEngine):
        return simd.solve(product, machine, settings)
    assert isinstance(machine, Crossbar)
    return crossbar.solve(product, machine, settings)
