"""Losses in the wires of arrays, as training sees them."""

__all__ = ["Losses", "Wires", "thermal_sums"]

from tetrit.train.noise.wires._kernels import thermal_sums
from tetrit.train.noise.wires.losses import Losses, Wires
