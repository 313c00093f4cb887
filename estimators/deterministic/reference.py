"""Slow references of the estimators of this family: plain Python loops over scalars, written from the formulas.

They share no code with the kernels; tests hold the kernels to them, codes and scales bit by bit. Conventions are those
of `tetrit.estimators.reference`: int64 codes, scales as a dict from channel index (None for the tensor) to float.
"""

__all__ = [
    "biper_backward",
    "biper_forward",
    "n_of_m_mask",
    "reste_backward",
    "sign_forward",
    "statsq_forward",
    "statsq_frozen",
    "tanh_clip_step",
]

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators._loops import Index, Scales, channels, is_negative, ordered_sum


def _mean_magnitude(w: NDArray[Any], members: list[Index]) -> float:
    return ordered_sum([abs(float(w[index])) for index in members]) / len(members) if members else 0.0


def _sign(value: float) -> int:
    return -1 if is_negative(value) else 1


def sign_forward(w: NDArray[Any], *, axis: int | None = None) -> tuple[NDArray[np.int64], Scales]:
    """Codes and scales of `ReSTE`."""
    codes = np.zeros(w.shape, np.int64)
    scales: Scales = {}
    for channel, members in channels(w.shape, axis).items():
        scales[channel] = _mean_magnitude(w, members) or 1.0
        for index in members:
            codes[index] = _sign(float(w[index])) % 4
    return codes, scales


def reste_backward(
    w: NDArray[Any], grad_out: NDArray[Any], *, power: float, clip: float, secant: float, axis: int | None = None
) -> NDArray[Any]:
    """Gradient of `ReSTE`, in the dtype of `grad_out`."""
    grad = np.zeros_like(grad_out, order="C")
    for members in channels(w.shape, axis).values():
        scale = _mean_magnitude(w, members) or 1.0
        for index in members:
            size = abs(float(w[index]))
            if size <= secant:
                grad[index] = float(grad_out[index]) * scale * secant ** (1.0 / power - 1.0)
            elif size <= clip:
                grad[index] = float(grad_out[index]) * scale * size ** (1.0 / power - 1.0) / power
    return grad


def biper_forward(w: NDArray[Any], *, frequency: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Codes of `BiPer` and the sine that they are the sign of."""
    codes, waves = np.zeros(w.shape, np.int64), np.zeros(w.shape)
    for index in np.ndindex(*w.shape):
        waves[index] = math.sin(frequency * float(w[index]))
        codes[index] = _sign(float(waves[index])) % 4
    return codes, waves


def biper_backward(w: NDArray[Any], grad_out: NDArray[Any], *, frequency: float, scale: float) -> NDArray[Any]:
    """Gradient of `BiPer`, in the dtype of `grad_out`."""
    grad = np.zeros_like(grad_out, order="C")
    for index in np.ndindex(*w.shape):
        slope = frequency * math.cos(frequency * float(w[index]))
        grad[index] = float(grad_out[index]) * scale * slope
    return grad


def statsq_forward(w: NDArray[Any], *, bits: int, axis: int | None = None) -> tuple[NDArray[np.int64], Scales]:
    """Codes and scales of `StatsQ`."""
    codes = np.zeros(w.shape, np.int64)
    scales: Scales = {}
    half = 2 ** (bits - 1)
    for channel, members in channels(w.shape, axis).items():
        scales[channel] = _mean_magnitude(w, members) / half or 1.0
        for index in members:
            q = round(float(w[index]) / scales[channel] / 2 - 0.5)
            odd = 2 * min(max(q, -half), half - 1) + 1
            codes[index] = odd % 2 ** (bits + 1)
    return codes, scales


def statsq_frozen(w: NDArray[Any], *, bits: int, cga: float, axis: int | None = None) -> NDArray[np.bool_]:
    """Frozen mask of `StatsQ`, border by border, in exact arithmetic once w has been divided by its scale."""
    frozen = np.ones(w.shape, np.bool_)
    half = 2 ** (bits - 1)
    for members in channels(w.shape, axis).values():
        scale = _mean_magnitude(w, members) / half or 1.0
        for index in members:
            place = Fraction(float(w[index]) / scale / 2)
            for border in range(1 - half, half):
                if abs(place - border) <= Fraction(cga):
                    frozen[index] = False
    return frozen


def n_of_m_mask(w: NDArray[Any], *, n: int, m: int, along: int = 0) -> NDArray[np.bool_]:
    """Mask of `SRSTE`: take the largest weight of the group that is left, the earliest of equals, n times."""
    mask = np.zeros(w.shape, np.bool_)
    line, kept = np.moveaxis(w, along, 0), np.moveaxis(mask, along, 0)
    for rest in np.ndindex(*line.shape[1:]):
        for start in range(0, len(line), m):
            left = list(range(start, min(start + m, len(line))))
            for _ in range(min(n, len(left))):
                best = left[0]
                for i in left[1:]:
                    if abs(float(line[(i, *rest)])) > abs(float(line[(best, *rest)])):
                        best = i
                kept[(best, *rest)] = True
                left.remove(best)
    return mask


def tanh_clip_step(w: NDArray[Any], *, bound: float) -> NDArray[Any]:
    """Soft clip of `TanhClip`, in the dtype of `w`."""
    bent = np.zeros_like(w, order="C")
    for index in np.ndindex(*w.shape):
        bent[index] = bound * math.tanh(float(w[index]) / bound)
    return bent
