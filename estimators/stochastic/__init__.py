"""Stochastic and step-size estimators: unbiased rounding, smoothed losses, noise, nested widths, learned steps.

Those that draw take ``rng: numpy.random.Generator`` at the call; without one they draw from a generator that is freshly
seeded with their field ``seed``, so that a call without `rng` is a pure function of the array.
"""

__all__ = ["LOTION", "LSQ", "DoubleRounding", "GaussWS", "StochasticRounding", "narrow", "noise_probability"]

from tetrit.estimators.stochastic.double_rounding import DoubleRounding, narrow
from tetrit.estimators.stochastic.gauss import GaussWS, noise_probability
from tetrit.estimators.stochastic.lotion import LOTION
from tetrit.estimators.stochastic.lsq import LSQ
from tetrit.estimators.stochastic.rounding import StochasticRounding
