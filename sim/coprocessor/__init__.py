"""The matrix co-processor simulated: jobs in memory, exact results, exact cycles."""

__all__ = ["Containers", "Coprocessor", "MatmulJob", "Outcome", "execute", "load", "result"]

from tetrit.sim.coprocessor.execute import Outcome, execute
from tetrit.sim.coprocessor.image import load, result
from tetrit.sim.coprocessor.job import MatmulJob
from tetrit.sim.coprocessor.unit import Containers, Coprocessor
