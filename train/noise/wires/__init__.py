"""Losses in the wires of arrays, as training sees them."""

__all__ = ["Losses", "Wires", "array_levels", "thermal_sums"]

from tetrit.train.noise.wires._kernels import array_levels, thermal_sums
from tetrit.train.noise.wires.losses import Losses, Wires
