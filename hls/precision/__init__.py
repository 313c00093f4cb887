"""The format of every layer: tables of what formats cost and lose, the best choice within limits, and all best ones."""

__all__ = [
    "PrecisionChoice",
    "PrecisionTable",
    "assign_precision",
    "choose_precision",
    "layer_costs",
    "pareto_front",
    "total_costs",
]

from tetrit.hls.precision.budget import assign_precision
from tetrit.hls.precision.front import pareto_front
from tetrit.hls.precision.limits import choose_precision
from tetrit.hls.precision.pricing import layer_costs
from tetrit.hls.precision.table import PrecisionChoice, PrecisionTable, total_costs
