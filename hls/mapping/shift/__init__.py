"""Mapping products onto a shift array."""

__all__ = ["Tiling", "solve"]

from tetrit.hls.mapping.shift.solve import solve
from tetrit.hls.mapping.shift.tiling import Tiling
