"""Torch rules: each estimator once more in tensor operations, for devices that the golden kernels cannot reach.

A rule gives the bits of the golden estimator in its forward pass, and its gradient within float32 rounding, on any
device and without waiting for it.
"""

__all__ = ["Rule", "rule_of"]

from tetrit.estimators import Estimator
from tetrit.train.quantizers.rules import szt
from tetrit.train.quantizers.rules.base import Rule

_RULES: dict[str, Rule] = {rule.name: rule for rule in (szt.RULE,)}


def rule_of(estimator: Estimator) -> Rule:
    """Return the rule of the estimator's class."""
    return _RULES[estimator.name]
