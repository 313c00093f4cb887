"""Noise-aware training: a network's layers on a simulated crossbar, with the gradients of a perfect one."""

__all__ = [
    "NoiseAwareLayer",
    "Ramp",
    "calibrate",
    "crossbar_layers",
    "new_chip",
    "noise_aware",
    "set_crossbar",
    "set_noise",
]

from tetrit.train.noise.extended import NoiseAwareLayer
from tetrit.train.noise.preparing import (
    calibrate,
    crossbar_layers,
    new_chip,
    noise_aware,
    set_crossbar,
    set_noise,
)
from tetrit.train.noise.settings import Ramp
