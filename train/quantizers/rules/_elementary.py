"""Sine, cosine and powers in tensor operations, bit for bit those of `tetrit.estimators.elementary`."""

__all__ = ["cosine", "powers", "sine"]

from collections.abc import Sequence

import torch
from torch import Tensor

from tetrit.estimators.elementary import _kernels as golden


def _series(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Polynomial by Horner's rule, lowest power first, one rounding for each product and each sum."""
    value = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = c + x * value
    return value


def _wave(phase: Tensor, quarters: int) -> Tensor:
    turns = torch.round(phase * golden.TURNS)
    r = phase
    for part in golden.HALF_PI:
        r = r - turns * part
    z = r * r
    s = r + r * z * _series(z, golden.SINE)
    c = 1.0 - (0.5 * z - z * z * _series(z, golden.COSINE))
    place = torch.where(turns.isfinite(), turns, 0.0).long() + quarters
    value = torch.where((place & 1) != 0, c, s)
    return torch.where((place & 2) != 0, -value, value)


def sine(phase: Tensor) -> Tensor:
    """Return sin(phase) of a float64 tensor; a zero keeps its sign, infinities give NaN."""
    return torch.where(phase != 0, _wave(phase, 0), phase)


def cosine(phase: Tensor) -> Tensor:
    """Return cos(phase) of a float64 tensor; infinities give NaN."""
    return _wave(phase, 1)


def powers(bases: Tensor, exponent: float) -> Tensor:
    """Return base^exponent for positive, finite bases in float64."""
    small = bases < golden.SUBNORMAL
    bits = torch.where(small, bases * 2.0**54, bases).view(torch.int64)
    whole = (bits - golden.MIDDLE) >> 52
    m = (bits - (whole << 52)).view(torch.float64)
    f = (m - 1.0) / (m + 1.0)
    log = (torch.where(small, -54.0, 0.0) + whole.double()) + f * _series(f * f, golden.LOGARITHM)
    t = (exponent * log).clamp(-1200.0, 1100.0)
    nearest = torch.round(t)
    value = _series(t - nearest, golden.EXPONENTIAL)
    n = nearest.long()
    half = n >> 1
    return value * ((half + 1023) << 52).view(torch.float64) * ((n - half + 1023) << 52).view(torch.float64)
