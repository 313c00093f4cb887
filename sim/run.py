"""The result of running a workload on a machine: output, cycles, events, energy."""

__all__ = ["Run", "summed"]

from collections.abc import Callable, Iterable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What one matrix product on a machine gave and cost.

    Attributes
    ----------
    output : ndarray, shape (batch, n_out)
        Exact accumulators (int64) of a shift array; codes of a SIMD engine; of a crossbar float64, in units of the
        exact integer product.
    cycles : int
        From the first cycle in which the machine may take a word to the one in which the last result word leaves.
    utilization : float
        Multiply-accumulates over what the array could do in `cycles`, 0..1.
    bound : str
        What limits the run: ``compute``, ``weights``, ``activations``, ``partials`` (weight stationary), ``results``
        (output stationary), or ``latency`` (fill, drain and waiting for partial sums); on a crossbar, ``converters`` or
        ``settling``.
    events : mapping of str to int
        Countable hardware acts.
    price : callable
        Computes `breakdown`, from copies of what was multiplied; can be pickled.
    """

    output: npt.NDArray[Any]
    cycles: int
    utilization: float
    bound: str
    events: MappingType[str, int]
    price: Callable[[], MappingType[str, float]] = field(repr=False)

    @cached_property
    def breakdown(self) -> MappingType[str, float]:
        """Energy in pJ by component, in order; modelled, when first asked for."""
        return self.price()

    @property
    def energy_pj(self) -> float:
        """Total energy in pJ, the sum of the breakdown."""
        return float(sum(self.breakdown.values()))


def summed(breakdowns: Iterable[MappingType[str, float]], unit: float = 1.0) -> dict[str, float]:
    """Return energies added up by component, in order of appearance, each times `unit`.

    Examples
    --------
    >>> summed([{"array": 1.0, "memory": 2.0}, {"array": 3.0}])
    {'array': 4.0, 'memory': 2.0}
    """
    total: dict[str, float] = {}
    for breakdown in breakdowns:
        for component, energy in breakdown.items():
            total[component] = total.get(component, 0.0) + energy * unit
    return total
