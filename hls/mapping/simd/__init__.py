"""Mapping products onto a SIMD engine."""

__all__ = ["SimdTiling", "solve"]

from tetrit.hls.mapping.simd.solve import SimdTiling, solve
