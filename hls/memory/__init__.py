"""Memory schedules of a scratchpad: operator order, addresses, and what goes out and comes back."""

__all__ = [
    "MemoryPlan",
    "Move",
    "Op",
    "Stay",
    "TensorGraph",
    "arena",
    "by_replacement",
    "check_plan",
    "fused",
    "minimum_peak",
    "plan_memory",
    "replacement_traffic",
]

from tetrit.hls.memory.baselines import arena, by_replacement, replacement_traffic
from tetrit.hls.memory.check import check_plan
from tetrit.hls.memory.fuse import fused
from tetrit.hls.memory.graph import Op, TensorGraph
from tetrit.hls.memory.peak import minimum_peak
from tetrit.hls.memory.plan import MemoryPlan, Move, Stay
from tetrit.hls.memory.planner import plan_memory
