"""Golden kernels of this family, under the rules of `tetrit.estimators._kernels`: rows, chunks, float64.

Hyperbolic tangents are those of the C library: correct within one unit in the last place. No code depends on them.
"""

__all__ = [
    "CELL",
    "CENTRE",
    "TERMS",
    "frozen_mask",
    "odd_block",
    "odd_codes",
    "odd_values",
    "power_values",
    "reste_backward",
    "sign_codes",
    "sign_values",
    "sine_backward",
    "sine_codes",
    "sine_signs",
    "sine_values",
    "tanh_values",
]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import BLOCK, chunk_at
from tetrit.estimators.elementary._kernels import LARGEST_PHASE, angle_sine, cosine_angle, powers, sine_angle

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[Any]
Flags: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.uint32]

CELL = 44
"""Bits of a double below those that number its cell: a 256th of the way from one power of two to the next."""
CENTRE = 1 << (CELL - 1)
"""The lower bits of the middle of a cell; no double of it is farther from it than 2^-9 of its value."""
TERMS = 5
"""Of the binomial series of (1 + d)^p, |d| up to 2^-9: for p from -1 to 0 the rest is below 2^-54."""
_WHOLE = -1 << CELL


@njit(cache=True, nogil=True)
def sign_codes(x: Floats, codes: Codes, first: int, last: int) -> None:
    """Write the two-bit integer of the sign bit: 1 for +1, 3 for -1."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_codes = x[r, i:j], codes[r, i:j]
        for k in range(part.size):
            part_codes[k] = 3 if math.copysign(1.0, np.float64(part[k])) < 0.0 else 1


@njit(cache=True, nogil=True)
def power_values(x: Floats, exponent: float, out: Doubles, first: int, last: int) -> None:
    """Write sign(x) |x|^exponent; a zero stays."""
    bases, powered = np.empty(BLOCK), np.empty(BLOCK)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for start in range(i, j, BLOCK):
            part, part_out = x[r, start : min(j, start + BLOCK)], out[r, start : min(j, start + BLOCK)]
            for k in range(part.size):
                a = abs(np.float64(part[k]))
                bases[k] = a if a > 0.0 else 1.0
            powers(bases[: part.size], exponent, powered[: part.size])
            for k in range(part.size):
                w = np.float64(part[k])
                part_out[k] = math.copysign(powered[k] if w != 0.0 else 0.0, w)


@njit(cache=True, nogil=True, error_model="numpy")
def _slope_block(
    x: Floats,
    grad: Floats,
    scale: float,
    flat: float,
    secant: float,
    clip: float,
    series: Doubles,
    table: Doubles,
    parts: Doubles,
    places: Places,
    out: Floats,
) -> None:
    first = np.float64(secant).view(np.int64) >> CELL
    s1, s2, s3, s4, s5 = series[0], series[1], series[2], series[3], series[4]
    for k in range(x.size):
        a = abs(np.float64(x[k]))
        g: float = np.float64(grad[k]) * (scale if a > secant else flat)
        b = a if a > secant else secant
        b = b if b < clip else clip
        bits = np.float64(b).view(np.int64)
        places[k] = np.uint32((bits >> CELL) - first)
        centre = np.int64(bits & _WHOLE | CENTRE).view(np.float64)
        d: float = (b - centre) / centre
        g = g if a <= clip else 0.0
        parts[k] = g * (1.0 + d * (s1 + d * (s2 + d * (s3 + d * (s4 + d * s5)))))
    for k in range(x.size):  # a loop of its own: the one above is vector code, which cannot look up
        out[k] = parts[k] * table[places[k]]


@njit(cache=True, nogil=True)
def reste_backward(
    x: Floats,
    grad: Floats,
    scales: Doubles,
    power: float,
    secant: float,
    clip: float,
    series: Doubles,
    table: Doubles,
    out: Floats,
    first: int,
    last: int,
) -> None:
    """Write grad * scale * f'(x): `power` times the slope of `secant` up to that, then that of x, and 0 beyond `clip`.

    The slope of x is that of the centre c of its cell, from the table, times the series of (1 + d)^p, d = (x - c) / c.
    """
    parts, places = np.empty(BLOCK), np.empty(BLOCK, np.uint32)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        scale = scales[r]
        for start in range(i, j, BLOCK):
            part, part_grad = x[r, start : min(j, start + BLOCK)], grad[r, start : min(j, start + BLOCK)]
            part_out = out[r, start : min(j, start + BLOCK)]
            _slope_block(part, part_grad, scale, scale * power, secant, clip, series, table, parts, places, part_out)


@njit(cache=True, nogil=True)
def sine_codes(x: Floats, frequency: float, codes: Codes, first: int, last: int) -> None:
    """Write the two-bit integer of the sign bit of sin(frequency x): 1 for +1, 3 for -1."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_codes = x[r, i:j], codes[r, i:j]
        for k in range(part.size):
            angle = sine_angle(frequency * np.float64(part[k]))
            part_codes[k] = 3 if math.copysign(1.0, angle) < 0.0 else 1


@njit(cache=True, nogil=True)
def sine_signs(x: Floats, factor: float, frequency: float, out: Floats, first: int, last: int) -> bool:
    """Write factor with the sign of sin(frequency x); return whether no phase is beyond `LARGEST_PHASE`."""
    inside: np.bool_ = np.bool_(True)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_out = x[r, i:j], out[r, i:j]
        for k in range(part.size):
            phase = frequency * np.float64(part[k])
            inside &= abs(phase) <= LARGEST_PHASE
            part_out[k] = math.copysign(factor, sine_angle(phase))
    return bool(inside)


@njit(cache=True, nogil=True)
def sine_values(x: Floats, factor: float, frequency: float, out: Floats, first: int, last: int) -> bool:
    """Write factor * sin(frequency x); return whether no phase is beyond `LARGEST_PHASE`."""
    angles = np.empty(BLOCK)
    inside: np.bool_ = np.bool_(True)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for start in range(i, j, BLOCK):
            part, part_out = x[r, start : min(j, start + BLOCK)], out[r, start : min(j, start + BLOCK)]
            for k in range(part.size):
                phase = frequency * np.float64(part[k])
                inside &= abs(phase) <= LARGEST_PHASE
                angles[k] = sine_angle(phase)
            for k in range(part.size):
                part_out[k] = factor * angle_sine(angles[k])
    return bool(inside)


@njit(cache=True, nogil=True)
def sine_backward(x: Floats, grad: Floats, factor: float, frequency: float, out: Floats, first: int, last: int) -> None:
    """Write grad * (factor * cos(frequency x))."""
    angles = np.empty(BLOCK)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for start in range(i, j, BLOCK):
            part, part_grad = x[r, start : min(j, start + BLOCK)], grad[r, start : min(j, start + BLOCK)]
            part_out = out[r, start : min(j, start + BLOCK)]
            for k in range(part.size):
                angles[k] = cosine_angle(frequency * np.float64(part[k]))
            for k in range(part.size):
                part_out[k] = np.float64(part_grad[k]) * (factor * angle_sine(angles[k]))


@njit(cache=True, nogil=True)
def odd_codes(x: Floats, scales: Doubles, half: float, mask: int, codes: Codes, first: int, last: int) -> None:
    """Write the code of the odd integer 2 q + 1, q = x / (2 scale) - 1/2 to nearest even, from -half to half - 1."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_codes, scale = x[r, i:j], codes[r, i:j], scales[r]
        for k in range(part.size):
            q = np.rint(np.float64(part[k]) / scale * 0.5 - 0.5)
            q = q if q < half - 1.0 else half - 1.0
            q = q if q > -half else -half
            part_codes[k] = (2 * np.int32(q) + 1) & mask


@njit(cache=True, nogil=True)
def odd_block(x: Floats, scale: float, half: float, out: Floats) -> None:
    """Write scale times the odd integers of a part of a row."""
    inverse = 0.5 / scale  # see `tetrit.estimators.integers._kernels.clipped_block`
    near: np.bool_ = np.bool_(scale < 1e-300)
    for k in range(x.size):
        t = np.float64(x[k]) * inverse - 0.5
        q = np.rint(t)
        near |= abs(abs(t - q) - 0.5) < 1e-9
        q = q if q < half - 1.0 else half - 1.0
        q = q if q > -half else -half
        out[k] = (2.0 * q + 1.0) * scale
    if near:
        for k in range(x.size):
            q = np.rint(np.float64(x[k]) / scale * 0.5 - 0.5)
            q = q if q < half - 1.0 else half - 1.0
            q = q if q > -half else -half
            out[k] = (2.0 * q + 1.0) * scale


@njit(cache=True, nogil=True)
def odd_values(x: Floats, scales: Doubles, half: float, out: Floats, first: int, last: int) -> None:
    """Write scale times the odd integer of `odd_codes`; `half` up to 2^15."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for k in range(i, j, BLOCK):
            stop = min(j, k + BLOCK)
            odd_block(x[r, k:stop], scales[r], half, out[r, k:stop])


@njit(cache=True, nogil=True)
def sign_values(x: Floats, scales: Doubles, out: Floats, first: int, last: int) -> None:
    """Write scale with the sign of x."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_out, scale = x[r, i:j], out[r, i:j], scales[r]
        for k in range(part.size):
            part_out[k] = math.copysign(scale, np.float64(part[k]))


@njit(cache=True, nogil=True)
def frozen_mask(x: Floats, scales: Doubles, half: float, width: float, frozen: Flags, first: int, last: int) -> None:
    """Write whether x / (2 scale) is farther than `width` from every border, the integers between -half and half."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_frozen, scale = x[r, i:j], frozen[r, i:j], scales[r]
        for k in range(part.size):
            v = np.float64(part[k]) / scale * 0.5
            border = np.rint(v)
            border = border if border < half - 1.0 else half - 1.0
            border = border if border > 1.0 - half else 1.0 - half
            part_frozen[k] = not abs(v - border) <= width


@njit(cache=True, nogil=True)
def tanh_values(x: Floats, bound: float, out: Floats, first: int, last: int) -> None:
    """Write bound * tanh(x / bound)."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_out = x[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = bound * math.tanh(np.float64(part[k]) / bound)
