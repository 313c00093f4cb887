"""What a mapping says of one product: how it is laid out, what it takes, and how good it is proven to be."""

__all__ = ["COSTS", "Settings", "Solution"]

from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Memory
from tetrit.hls.mapping.memory import Traffic

COSTS: tuple[str, ...] = ("latency", "energy", "edp")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a search is told beside the product and the machine.

    Attributes
    ----------
    cost : {"latency", "energy", "edp"}
        What is made least: cycles, pJ, or pJ times cycles.
    off_chip : Memory or None
        Beyond the scratchpads; None: operands are there at no cost.
    nonzero : float
        Share of the weights that are not zero, 0..1; 1 for formats without zero.
    act_format, weight_format : str
        Of products on a SIMD engine; other machines have theirs.
    arrays : int or None
        Arrays of a crossbar that a layer can have; None: as many as one copy of its weights takes.
    effort : int
        Thousands of tiles that the cycle model runs for a product, and of bounds taken, at most; a search that would
        need more ends with the best so far, marked as not proven.
    """

    cost: str = "latency"
    off_chip: Memory | None = None
    nonzero: float = 1.0
    act_format: str = "posit8_0"
    weight_format: str = "posit8_0"
    arrays: int | None = None
    effort: int = 300

    def __post_init__(self) -> None:
        checks.choice("cost", self.cost, COSTS)
        if self.off_chip is not None and not isinstance(self.off_chip, Memory):
            raise TypeError(f"`off_chip` must be a Memory or None, got {self.off_chip!r}")
        object.__setattr__(self, "nonzero", checks.real("nonzero", self.nonzero, minimum=0.0))
        if self.nonzero > 1.0:
            raise InvalidValueError(f"`nonzero` must be at most 1, got {self.nonzero:g}")
        if self.arrays is not None:
            object.__setattr__(self, "arrays", checks.integer("arrays", self.arrays))
        object.__setattr__(self, "effort", checks.integer("effort", self.effort))

    @property
    def kind(self) -> int:
        """The cost as the kernels know it."""
        return COSTS.index(self.cost)

    @property
    def limit(self) -> int:
        """Most tiles run, and most bounds taken, for a product."""
        return 1000 * self.effort


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """One product on a machine, mapped.

    Attributes
    ----------
    tiling : Tiling, SimdTiling or CrossbarTiling
        The mapping.
    array_cycles, off_chip_cycles : int
        Of the array as its cycle model has them, and of off-chip memory; the product takes the larger number.
    breakdown : mapping of str to float
        Energy in pJ by component.
    traffic : mapping of str to Traffic
        By memory, the array's side first.
    peak_macs : float
        Multiply-accumulates that the array can do in a cycle.
    optimal : bool
        Whether no mapping of the search's space costs less on the model, proven.
    bound : float
        What is proven: no mapping costs less.
    """

    tiling: Any
    array_cycles: int
    off_chip_cycles: int
    breakdown: MappingType[str, float]
    traffic: MappingType[str, Traffic]
    peak_macs: float
    optimal: bool
    bound: float

    @property
    def cycles(self) -> int:
        """Cycles of the product: the slower of array and off-chip memory."""
        return max(self.array_cycles, self.off_chip_cycles)

    @property
    def energy_pj(self) -> float:
        """Energy of the product."""
        return float(sum(self.breakdown.values()))

    def cost(self, kind: str) -> float:
        """Return latency in cycles, energy in pJ, or their product."""
        if kind == "latency":
            return float(self.cycles)
        return self.energy_pj * (self.cycles if kind == "edp" else 1)
