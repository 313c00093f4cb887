"""Mapping: how each layer of a network runs on a machine, by search, with cycles, energy, traffic and roofline."""

__all__ = [
    "OFF_CHIP",
    "CrossbarTiling",
    "LayerMapping",
    "NetworkMapping",
    "SimdTiling",
    "Tiling",
    "Traffic",
    "map_network",
    "scale_sim",
]

from tetrit.hls.mapping import scale_sim
from tetrit.hls.mapping.crossbar import CrossbarTiling
from tetrit.hls.mapping.memory import OFF_CHIP, Traffic
from tetrit.hls.mapping.network import LayerMapping, NetworkMapping, map_network
from tetrit.hls.mapping.shift import Tiling
from tetrit.hls.mapping.simd import SimdTiling
