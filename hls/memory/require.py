"""The budget of a scratchpad, and the error that names the smallest one that a graph can do with."""

__all__ = ["METHODS", "budget_for"]

from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.memory.graph import TensorGraph

METHODS = ("optimal", "divide", "greedy", "ilp")
"""Exact search with addresses after it; beams through the parts; list order with Belady; the joint program itself."""


def budget_for(graph: TensorGraph, budget_bytes: Any) -> int:
    """Return the budget as an int, if a plan of the graph exists within it."""
    if not isinstance(graph, TensorGraph):
        raise TypeError(f"`graph` must be a TensorGraph, got {type(graph).__name__}")
    budget = checks.integer("budget_bytes", budget_bytes, minimum=0)
    if budget < graph.smallest_budget:
        sizes = graph.sizes
        largest = max(graph.ops, key=lambda op: sum(sizes[t] for t in {*op.inputs, *op.outputs}))
        raise InvalidValueError(
            f"`budget_bytes` must be at least {graph.smallest_budget}, what operator '{largest.name}' reads and "
            f"writes, got {budget}"
        )
    return budget
