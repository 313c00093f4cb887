"""The resistance of a crossbar's wires, solved exactly."""

__all__ = ["effective_conductance"]

from tetrit.sim.crossbar.wires.effective import effective_conductance
