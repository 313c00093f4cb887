"""Estimators that adapt: dead-zone weights reused as biases (Tequila), word lengths that training switches (AdaPT)."""

__all__ = [
    "AdaPT",
    "SwitchRule",
    "Tequila",
    "gradient_diversity",
    "histogram_divergence",
    "next_lookback",
    "push_down",
    "push_up",
    "switch",
]

from tetrit.estimators.adaptive.adapt import AdaPT
from tetrit.estimators.adaptive.switching import (
    SwitchRule,
    gradient_diversity,
    histogram_divergence,
    next_lookback,
    push_down,
    push_up,
    switch,
)
from tetrit.estimators.adaptive.tequila import Tequila
