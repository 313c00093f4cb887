"""Slow references of the estimators: plain Python loops over scalars, written from the formulas.

They share no code with the kernels and are the readable specification; tests hold the kernels to them bit by bit.

Every function takes an array and walks over it index by index. Codes come back as an int64 array of the same shape,
scales as a dict from channel index (None for the whole tensor) to float.
"""

__all__ = [
    "denseshift_backward",
    "denseshift_forward",
    "nearest_forward",
    "ste_clipped_backward",
    "szt_backward",
    "szt_forward",
    "uniform_forward",
]

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators._loops import Scales, channels, is_negative, ordered_sum


def szt_forward(
    w: NDArray[Any], *, ratio: float, scale: str, axis: int | None = None
) -> tuple[NDArray[np.int64], Scales]:
    """Codes and scales of `SZT`: 0 = +0, 1 = +1, 2 = -0, 3 = -1."""
    codes = np.zeros(w.shape, np.int64)
    scales: Scales = {}
    for channel, members in channels(w.shape, axis).items():
        magnitudes = [abs(float(w[index])) for index in members]
        mean = ordered_sum(magnitudes) / len(members) if members else 0.0
        threshold = ratio * mean
        n_kept = 0
        for index in members:
            value = float(w[index])
            if abs(value) > threshold:
                codes[index] = 3 if is_negative(value) else 1
                n_kept += 1
            else:
                codes[index] = 2 if is_negative(value) else 0
        chosen = mean
        if scale == "kept" and n_kept:
            chosen = ordered_sum([m if m > threshold else 0.0 for m in magnitudes]) / n_kept
        scales[channel] = chosen if n_kept and chosen > 0.0 else 1.0
    return codes, scales


def szt_backward(
    w: NDArray[Any],
    grad_out: NDArray[Any],
    *,
    ratio: float,
    gain: float,
    tilt: float,
    drift: float,
    clip: float,
    axis: int | None = None,
) -> NDArray[Any]:
    """Gradient of `SZT`, in the dtype of `grad_out`."""
    grad = np.zeros_like(grad_out, order="C")
    for members in channels(w.shape, axis).values():
        mean = ordered_sum([abs(float(w[index])) for index in members]) / len(members) if members else 0.0
        for index in members:
            value, g = float(w[index]), float(grad_out[index])
            if abs(value) <= ratio * mean:
                side = -1.0 if is_negative(value) else 1.0
                grad[index] = gain * g - side * (tilt * abs(g) + drift)
            elif abs(value) <= clip * mean:
                grad[index] = g
    return grad


def uniform_forward(
    w: NDArray[Any], *, bits: int, limit: float | None = None, axis: int | None = None
) -> tuple[NDArray[np.int64], Scales]:
    """Codes and scales of `STE` and `ClippedSTE`."""
    codes = np.zeros(w.shape, np.int64)
    scales: Scales = {}
    largest = 2 ** (bits - 1) - 1
    for channel, members in channels(w.shape, axis).items():
        reach = max([abs(float(w[index])) for index in members], default=0.0) if limit is None else limit
        scale = reach / largest
        if scale == 0.0:
            scale = 1.0
        for index in members:
            ratio = float(w[index]) / scale
            integer = largest if ratio > largest else -largest if ratio < -largest else round(ratio)
            codes[index] = integer if integer >= 0 else integer + 2**bits
        scales[channel] = scale
    return codes, scales


def ste_clipped_backward(w: NDArray[Any], grad_out: NDArray[Any], *, limit: float | None = None) -> NDArray[Any]:
    """Gradient of `ClippedSTE`: 0 beyond the limit."""
    grad = np.zeros_like(grad_out, order="C")
    for index in np.ndindex(*w.shape):
        if limit is None or abs(float(w[index])) <= limit:
            grad[index] = grad_out[index]
    return grad


def nearest_forward(
    w: NDArray[Any], *, values: Sequence[float], axis: int | None = None
) -> tuple[NDArray[np.int64], Scales]:
    """Codes and scales of `PowerOfTwo`: the nearest of `values` (by code, NaN skipped), ties to the even code.

    A zero between two values of the same size gets the value of its own sign.
    """
    codes = np.zeros(w.shape, np.int64)
    scales: Scales = {}
    finite = [code for code, value in enumerate(values) if not math.isnan(value)]
    top = max(values[code] for code in finite)
    for channel, members in channels(w.shape, axis).items():
        scale = max([abs(float(w[index])) for index in members], default=0.0) / top
        if scale == 0.0:
            scale = 1.0
        for index in members:
            ratio = float(w[index]) / scale
            best = finite[0]
            for code in finite[1:]:
                here, there = (abs(Fraction(values[c]) - Fraction(ratio)) for c in (code, best))
                if here == there > 0 and ratio == 0.0:
                    better = is_negative(values[code]) == is_negative(ratio) != is_negative(values[best])
                else:
                    better = here < there or (here == there and code % 2 == 0 and best % 2 == 1)
                if better:
                    best = code
            codes[index] = best
        scales[channel] = scale
    return codes, scales


def denseshift_forward(references: NDArray[Any]) -> NDArray[np.int64]:
    """Codes of `DenseShift`: the exponent, plus the number of references where the sign is negative."""
    codes = np.zeros(references.shape[1:], np.int64)
    for index in np.ndindex(*references.shape[1:]):
        column = [float(reference[index]) for reference in references]
        codes[index] = _nest(column, len(column) - 1) + (len(column) if is_negative(column[0]) else 0)
    return codes


def _nest(column: Sequence[float], t: int) -> int:
    """S_t = H(r_t) (1 + S_{t-1}), S_0 = 0."""
    if t == 0 or not column[t] > 0.0:
        return 0
    return 1 + _nest(column, t - 1)


def denseshift_backward(references: NDArray[Any], grad_out: NDArray[Any], *, scale: float, clip: float) -> NDArray[Any]:
    """Gradient of `DenseShift` with respect to every reference, in the dtype of `grad_out`."""
    grad = np.zeros(references.shape, grad_out.dtype)
    top = len(references) - 1
    for index in np.ndindex(*references.shape[1:]):
        column = [float(reference[index]) for reference in references]
        g = float(grad_out[index])
        size = scale * 2.0 ** _nest(column, top)
        side = -1.0 if is_negative(column[0]) else 1.0
        if abs(column[0]) <= clip:
            grad[(0, *index)] = g * size
        for t in range(1, top + 1):
            if abs(column[t]) <= clip and all(column[u] > 0.0 for u in range(t + 1, top + 1)):
                grad[(t, *index)] = g * size * side * math.log(2.0) * (1 + _nest(column, t - 1))
    return grad
