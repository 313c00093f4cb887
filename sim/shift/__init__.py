"""The shift array simulated: exact values, exact cycles, events."""

__all__ = ["ShiftEngine", "Streams", "best_mapping", "streams"]

from tetrit.sim.shift.engine import ShiftEngine
from tetrit.sim.shift.mapper import best_mapping
from tetrit.sim.shift.streams import Streams, streams
