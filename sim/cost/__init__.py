"""What a run costs: events priced, every price with its source."""

__all__ = ["Prices"]

from tetrit.sim.cost.prices import Prices
