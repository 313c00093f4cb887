"""The mixed-precision SIMD engine simulated: exact values, exact cycles, events."""

__all__ = ["SimdSimulator", "quire_matmul"]

from tetrit.sim.simd.engine import SimdSimulator
from tetrit.sim.simd.quire import quire_matmul
