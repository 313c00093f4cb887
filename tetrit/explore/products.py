"""A list of matrix products on a machine, from shapes alone: the authority for its cycles and its countable events.

The same cycle models, event counts and prices as of an engine that runs the products; a test compares them event by
event. What depends on values is stated: the share of zero weights is given, and the energy of a crossbar's cells is
that of the same arrays on random codes.
"""

__all__ = ["LATENCY", "crossbar", "macs", "shift", "shift_events", "simd", "simd_events"]

import functools
from collections.abc import Callable, Mapping

import numpy as np

from tetrit.explore import area
from tetrit.explore.figures import Figures
from tetrit.explore.workload import GemmWorkload
from tetrit.flow import chips
from tetrit.hardware import Crossbar, ShiftArray, SimdEngine
from tetrit.sim import CrossbarEngine, Workload
from tetrit.sim.cost import AnalogPrices, Prices, SimdPrices
from tetrit.sim.crossbar import cycles as crossbar_cycles
from tetrit.sim.crossbar.mapping import Layout
from tetrit.sim.shift import best_mapping
from tetrit.sim.shift import cycles as shift_cycles
from tetrit.sim.shift import events as shift_acts
from tetrit.sim.shift.tiles import tile_list
from tetrit.sim.simd import cycles as simd_cycles
from tetrit.sim.simd import events as simd_acts

LATENCY = "cycle model of tetrit.sim at the machine's clock"
Price = Callable[[Mapping[str, int]], Mapping[str, float]]

_VECTORS = 16
"""Random inputs that the energy of a crossbar's cells is measured with."""


def shift(work: GemmWorkload, machine: ShiftArray, *, area_mode: str) -> Figures:
    """Return the figures of a shift array, every product in its fastest mapping.

    Raises
    ------
    InvalidValueError
        A product does not fit the accumulator memory, or its sums the accumulators.
    """
    prices = Prices.modelled(machine)
    zeros = work.zeros if prices.pe_zero_pj is not None else 0.0
    total = _Total()
    for gemm, times in _distinct(work):
        total.add(shift_events(gemm, machine, zeros), times, lambda e: prices.breakdown(e, machine))
    found = area.shift(machine, area_mode)
    stated = f", {zeros:g} of the weights taken to be zero"
    return _figures(
        work,
        total,
        machine.clock_mhz,
        work_per_cycle=machine.rows * machine.cols,
        found=found,
        energy=f"modelled: {prices.source}{stated}; memories: their own fields; without requantisation",
    )


def shift_events(gemm: Workload, machine: ShiftArray, zeros: float) -> dict[str, int]:
    """Return the events of a product as `ShiftEngine.matmul` counts them, `zeros` of the weights being zero."""
    mapping = best_mapping(gemm, machine)
    tiles = tile_list(gemm, mapping)
    active = gemm.m * round(gemm.k * gemm.n * (1.0 - zeros))
    n_cycles = shift_cycles.count_tiles(tiles, machine)
    return shift_acts.of_tiles(gemm, tiles, machine, active=active, n_cycles=n_cycles)


def simd(work: GemmWorkload, machine: SimdEngine, act: str, weight: str, *, area_mode: str) -> Figures:
    """Return the figures of a SIMD engine, all products in one pair of formats.

    Raises
    ------
    InvalidValueError
        The machine lacks a format.
    """
    prices = SimdPrices.modelled(machine, act, weight)
    total = _Total()
    for gemm, times in _distinct(work):
        total.add(simd_events(gemm, machine, act, weight), times, lambda e: prices.breakdown(e, machine))
    return _figures(
        work,
        total,
        machine.clock_mhz,
        work_per_cycle=machine.rows * machine.cols * machine.mode(act, weight).lanes,
        found=area.simd(machine, area_mode),
        energy=f"modelled: {prices.source}; memories: their own fields",
    )


def simd_events(gemm: Workload, machine: SimdEngine, act: str, weight: str) -> dict[str, int]:
    """Return the events of a product that cost time or energy, as `SimdSimulator.events` counts them."""
    n_steps = simd_cycles.steps(gemm, machine, act, weight)
    return simd_acts.of_shape(gemm, machine, n_steps=n_steps, n_cycles=simd_cycles.count(gemm, machine, act, weight))


def crossbar(work: GemmWorkload, machine: Crossbar, *, seed: int) -> Figures:
    """Return the figures of crossbars that hold all weights, layers one after the other.

    Raises
    ------
    InvalidValueError
        A machine with a `ramp`, whose energy depends on the values.
    """
    prices = AnalogPrices.modelled()
    prices.check(machine)
    total = _Total()
    arrays = weights = 0
    for gemm, times in _distinct(work):
        layout = Layout(machine=machine, n_in=gemm.k, n_out=gemm.n)
        events = {name: gemm.m * n for name, n in crossbar_cycles.events(layout).items()}
        events["cycles"] = gemm.m * crossbar_cycles.per_vector(layout) + 1
        cells_pj = events["cell_read"] * _cell_pj(machine, min(gemm.k, machine.rows), seed)
        total.add(events, times, functools.partial(prices.breakdown, machine=machine, cells_pj=cells_pj))
        arrays += times * layout.row_arrays * layout.col_arrays
        weights += times * gemm.k * gemm.n * machine.columns_per_output
    found = area.crossbar(machine, arrays)
    done = _figures(work, total, machine.clock_mhz, work_per_cycle=1, found=found, energy="")
    return Figures(
        **vars(done)
        | {
            "utilization": weights / (arrays * machine.rows * machine.cols),
            "sources": done.sources
            | {
                "energy_uj": f"modelled: {prices.source}; cells: V^2 g t of evenly drawn codes on perfect cells of the "
                "machine; without requantisation and memories",
            },
        }
    )


def _cell_pj(machine: Crossbar, n_in: int, seed: int) -> float:
    """Return what a cell that is read takes on average: evenly drawn weights and inputs on one array's inputs."""
    rng = np.random.default_rng(seed)
    quiet = chips.without_wires(chips.perfect_cells(machine)).replace(adc_bits=None, spare_cols=0, ramp=None)
    codes = np.flatnonzero(~np.isnan(machine.weights.values))
    n_out = min(quiet.outputs_per_array, 16)
    engine = CrossbarEngine(quiet, seed).load(rng.choice(codes, (n_in, n_out)))
    values = machine.activations.integers
    x = rng.integers(int(values.min()), int(values.max()) + 1, (_VECTORS, n_in))
    run = engine.matmul(x, read_noise="off")
    return run.breakdown["cells"] / run.events["cell_read"]


class _Total:
    """Events and energy of products, added up."""

    def __init__(self) -> None:
        self.cycles = 0
        self.energy_uj: dict[str, float] = {}

    def add(self, events: Mapping[str, int], times: int, price: Price) -> None:
        """Add a product's events `times` times."""
        self.cycles += times * events["cycles"]
        for component, pj in price(events).items():
            self.energy_uj[component] = self.energy_uj.get(component, 0.0) + times * pj * 1e-6


def _distinct(work: GemmWorkload) -> list[tuple[Workload, int]]:
    """Return the shapes of a list, each once, and how often it comes."""
    times: dict[Workload, int] = {}
    for gemm in work.gemms:
        times[gemm.workload] = times.get(gemm.workload, 0) + gemm.count
    return list(times.items())


def macs(work: GemmWorkload) -> int:
    """Return the multiply-accumulates of a list."""
    return sum(gemm.count * gemm.workload.macs for gemm in work.gemms)


def _figures(
    work: GemmWorkload, total: _Total, clock_mhz: float, *, work_per_cycle: int, found: area.Area, energy: str
) -> Figures:
    return Figures(
        cycles=total.cycles,
        latency_us=total.cycles / clock_mhz,
        utilization=macs(work) / (total.cycles * work_per_cycle),
        energy_uj=total.energy_uj,
        area_mm2={name: um2 * 1e-6 for name, um2 in found.um2.items()},
        sources={"latency_us": LATENCY, "energy_uj": energy}
        | {f"area_mm2: {name}": source for name, source in found.sources.items()},
    )
