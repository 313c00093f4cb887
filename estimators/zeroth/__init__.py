"""Zeroth-order training: gradients from two losses, noise from a counter instead of memory, also in integers alone."""

__all__ = ["SPSA", "IntegerSPSA", "counter_words", "integer_cross_entropy", "step_seed", "two_point"]

from tetrit.estimators.zeroth.counter import counter_words, step_seed
from tetrit.estimators.zeroth.integer import IntegerSPSA, integer_cross_entropy
from tetrit.estimators.zeroth.spsa import SPSA, two_point
