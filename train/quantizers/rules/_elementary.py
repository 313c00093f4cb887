"""Sine, cosine and powers in tensor operations, bit for bit those of `tetrit.estimators.elementary`."""

__all__ = ["cosine", "powers", "series", "sine", "sine_angle"]

from collections.abc import Sequence

import torch
from torch import Tensor

from tetrit.estimators.elementary import _kernels as golden


def series(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return a polynomial by Horner's rule, lowest power first, one rounding for each product and each sum."""
    value = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = c + x * value
    return value


def _angle(phase: Tensor, turns: Tensor) -> Tensor:
    r = phase
    for part in golden.PI:
        r = r - turns * part
    return r


def sine_angle(phase: Tensor) -> Tensor:
    """Return the angle from -pi/2 to pi/2 that has the sine of a float64 tensor; infinities give NaN."""
    turns = torch.round(phase * golden.HALF_TURNS) + 0.0
    r, half = _angle(phase, turns), turns * 0.5
    return torch.where(half.floor() == half, r, -r)


def _cosine_angle(phase: Tensor) -> Tensor:
    whole = (phase * golden.HALF_TURNS).floor()
    r, half = _angle(phase, whole + 0.5), whole * 0.5
    return torch.where(half.floor() == half, -r, r)


def _angle_sine(r: Tensor) -> Tensor:
    z = r * r
    return torch.where(r != 0, r + r * z * series(z, golden.SINE), r)


def sine(phase: Tensor) -> Tensor:
    """Return sin(phase) of a float64 tensor; a zero keeps its sign, infinities give NaN."""
    return _angle_sine(sine_angle(phase))


def cosine(phase: Tensor) -> Tensor:
    """Return cos(phase) of a float64 tensor; infinities give NaN."""
    return _angle_sine(_cosine_angle(phase))


def powers(bases: Tensor, exponent: float) -> Tensor:
    """Return base^exponent for positive, finite bases in float64."""
    small = bases < golden.SUBNORMAL
    bits = torch.where(small, bases * 2.0**54, bases).view(torch.int64)
    whole = (bits - golden.MIDDLE) >> 52
    m = (bits - (whole << 52)).view(torch.float64)
    f = (m - 1.0) / (m + 1.0)
    log = (torch.where(small, -54.0, 0.0) + whole.double()) + f * series(f * f, golden.LOGARITHM)
    t = (exponent * log).clamp(-1200.0, 1100.0)
    nearest = torch.round(t)
    value = series(t - nearest, golden.EXPONENTIAL)
    n = nearest.long()
    half = n >> 1
    return value * ((half + 1023) << 52).view(torch.float64) * ((n - half + 1023) << 52).view(torch.float64)
