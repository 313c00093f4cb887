"""Estimators on other grids than plain integers: powers, adaptive steps, power functions, learned tables."""

__all__ = ["ASQ", "NUPES", "POST", "AdaptiveStep", "LearnedTable"]

from tetrit.estimators.grids.adaptive_step import AdaptiveStep
from tetrit.estimators.grids.asq import ASQ
from tetrit.estimators.grids.learned_table import LearnedTable
from tetrit.estimators.grids.nupes import NUPES
from tetrit.estimators.grids.post import POST
