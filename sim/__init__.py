"""Executing workloads on machines: values, cycles, events, cost."""

__all__ = ["CompiledLayer", "Mapping", "Program", "QuantizedLinear", "Run", "ShiftEngine", "Workload", "build"]

import numpy as np

from tetrit.hardware import ShiftArray
from tetrit.sim.cost import Prices
from tetrit.sim.program import CompiledLayer, Mapping, Program, QuantizedLinear, Workload
from tetrit.sim.run import Run
from tetrit.sim.shift import ShiftEngine


def build(machine: ShiftArray, rng: np.random.Generator | None = None, *, prices: Prices | None = None) -> ShiftEngine:
    """Return an engine that simulates `machine`.

    Parameters
    ----------
    machine : ShiftArray
        The machine.
    rng : numpy.random.Generator, optional
        Source of a machine's randomness; a digital machine has none and ignores it.
    prices : Prices, optional
        Energy per event; by default the committed table's.

    Returns
    -------
    ShiftEngine
        Call `load`, then `matmul`.

    Raises
    ------
    TypeError
        `machine` is not a machine.
    """
    if not isinstance(machine, ShiftArray):
        raise TypeError(f"`machine` must be a ShiftArray, got {machine!r}")
    return ShiftEngine(machine, prices)
