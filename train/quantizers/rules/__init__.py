"""Torch rules: each estimator once more in tensor operations, for devices that the golden kernels cannot reach.

A rule gives the bits of the golden estimator in its forward pass (NUPES' powers and hyperbolic tangents but for a few
units in the last place of float64), and its gradient within float32 rounding, on any device with float64 and without
waiting for it.
"""

__all__ = ["Drawing", "Rule", "rounded", "rule_of", "serves_cpu"]

from tetrit.train.quantizers.rules import (
    adaptive,
    binary,
    blocks,
    denseshift,
    formats,
    grids,
    pairs,
    powers,
    sr_ste,
    statsq,
    steps,
    stochastic,
    szt,
    uniform,
)
from tetrit.train.quantizers.rules._tensors import rounded
from tetrit.train.quantizers.rules.base import Drawing, Rule, register, rule_of, serves_cpu

_FAMILIES = (
    adaptive,
    binary,
    blocks,
    denseshift,
    formats,
    grids,
    pairs,
    powers,
    sr_ste,
    statsq,
    steps,
    stochastic,
    szt,
    uniform,
)
for _family in _FAMILIES:
    register(*_family.RULES)
