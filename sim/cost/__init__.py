"""What a run costs: events priced, every price with its source."""

__all__ = ["AnalogPrices", "Figure", "Prices", "SimdPrices"]

from tetrit.sim.cost.analog import AnalogPrices
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.prices import Prices
from tetrit.sim.cost.simd import SimdPrices
