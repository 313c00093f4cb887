"""Executing workloads on machines: values, cycles, events, cost."""

__all__ = [
    "Chip",
    "CompiledLayer",
    "CompiledSimdLayer",
    "CrossbarEngine",
    "Mapping",
    "Program",
    "QuantizedLinear",
    "Run",
    "ShiftEngine",
    "SimdProgram",
    "SimdSimulator",
    "Workload",
    "build",
]

from typing import Any, overload

import numpy as np

from tetrit.hardware import Crossbar, ShiftArray, SimdEngine
from tetrit.sim.cost import AnalogPrices, Prices, SimdPrices
from tetrit.sim.crossbar import CrossbarEngine
from tetrit.sim.execute import Chip
from tetrit.sim.program import (
    CompiledLayer,
    CompiledSimdLayer,
    Mapping,
    Program,
    QuantizedLinear,
    SimdProgram,
    Workload,
)
from tetrit.sim.run import Run
from tetrit.sim.shift import ShiftEngine
from tetrit.sim.simd import SimdSimulator


@overload
def build(
    machine: ShiftArray, rng: np.random.Generator | None = None, *, prices: Prices | None = None
) -> ShiftEngine: ...


@overload
def build(
    machine: Crossbar, rng: np.random.Generator | None = None, *, prices: AnalogPrices | None = None
) -> CrossbarEngine: ...


@overload
def build(
    machine: SimdEngine, rng: np.random.Generator | None = None, *, prices: SimdPrices | None = None
) -> SimdSimulator: ...


def build(
    machine: Any, rng: np.random.Generator | None = None, *, prices: Any = None
) -> ShiftEngine | CrossbarEngine | SimdSimulator:
    """Return an engine that simulates `machine`.

    Parameters
    ----------
    machine : ShiftArray, SimdEngine or Crossbar
        The machine.
    rng : numpy.random.Generator, optional
        Source of a machine's randomness: an analog one takes the seed of its chip from it, one number; without it the
        chip has seed 0. A digital machine has no randomness and ignores it.
    prices : Prices, SimdPrices or AnalogPrices, optional
        Energy per event; by default the committed table's.

    Returns
    -------
    ShiftEngine, SimdSimulator or CrossbarEngine
        Call `load`, then `matmul`.

    Raises
    ------
    TypeError
        `machine` is not a machine, `rng` no generator, or `prices` are another machine's.
    """
    if isinstance(machine, ShiftArray):
        if prices is not None and not isinstance(prices, Prices):
            raise TypeError(f"`prices` of a ShiftArray must be Prices, got {prices!r}")
        return ShiftEngine(machine, prices)
    if isinstance(machine, SimdEngine):
        if prices is not None and not isinstance(prices, SimdPrices):
            raise TypeError(f"`prices` of a SimdEngine must be SimdPrices, got {prices!r}")
        return SimdSimulator(machine, prices=prices)
    if not isinstance(machine, Crossbar):
        raise TypeError(f"`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got {machine!r}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"`rng` must be a numpy.random.Generator, got {rng!r}")
    if prices is not None and not isinstance(prices, AnalogPrices):
        raise TypeError(f"`prices` of a Crossbar must be AnalogPrices, got {prices!r}")
    return CrossbarEngine(machine, 0 if rng is None else int(rng.integers(2**63)), prices)
