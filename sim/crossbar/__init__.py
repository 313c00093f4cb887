"""The analog crossbar simulated: cells, wires, converters, and products on all of them together."""

__all__ = ["CrossbarEngine", "effective_conductance"]

from tetrit.sim.crossbar.engine import CrossbarEngine
from tetrit.sim.crossbar.wires import effective_conductance
