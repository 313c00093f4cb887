"""Design-space exploration: points of a space of machines, evaluated by tetrit's own models, and their Pareto front."""

__all__ = ["Space", "Store", "front", "load_space", "run"]

from tetrit.explore.config import load_space
from tetrit.explore.pareto import front
from tetrit.explore.running import run
from tetrit.explore.space import Space
from tetrit.explore.store import Store
