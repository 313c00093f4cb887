"""Golden kernels of this family, under the rules of `tetrit.estimators._kernels`: rows, chunks, float64.

Powers, sines, cosines and hyperbolic tangents are those of the C library, in float64: correct within one unit in the
last place, and the same with and without the compiler. No code depends on that last place.
"""

__all__ = [
    "CHUNK",
    "frozen_mask",
    "n_of_m_mask",
    "odd_codes",
    "power_values",
    "reste_backward",
    "sign_codes",
    "sine_backward",
    "sine_codes",
    "sine_values",
    "tanh_values",
]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import CHUNK

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[Any]
Flags: TypeAlias = NDArray[np.bool_]


@njit(cache=True, nogil=True)
def sign_codes(x: Floats, codes: Codes, first: int, last: int) -> None:
    """Write the two-bit integer of the sign bit: 1 for +1, 3 for -1."""
    n = x.shape[1]
    chunks = (n + CHUNK - 1) // CHUNK
    for item in range(first, last):
        r, c = item // chunks, item % chunks
        i, j = c * CHUNK, min(n, (c + 1) * CHUNK)
        part, part_codes = x[r, i:j], codes[r, i:j]
        for k in range(part.size):
            part_codes[k] = 3 if math.copysign(1.0, np.float64(part[k])) < 0.0 else 1


@njit(cache=True, nogil=True)
def power_values(x: Floats, exponent: float, out: Doubles, first: int, last: int) -> None:
    """Write sign(x) |x|^exponent."""
    n = x.shape[1]
    chunks = (n + CHUNK - 1) // CHUNK
    for item in range(first, last):
        r, c = item // chunks, item % chunks
        i, j = c * CHUNK, min(n, (c + 1) * CHUNK)
        part, part_out = x[r, i:j], out[r, i:j]
        for k in range(part.size):
            w = np.float64(part[k])
            part_out[k] = math.copysign(math.pow(abs(w), exponent), w)


@njit(cache=True, nogil=True)
def reste_backward(
    x: Floats,
    grad: Floats,
    scales: Doubles,
    power: float,
    clip: float,
    secant: float,
    out: Floats,
    first: int,
    last: int,
) -> None:
    """Write grad * (scale * f'(x)): a secant up to `secant`, the derivative of |x|^(1/power) up to `clip`, then 0."""
    n = x.shape[1]
    chunks = (n + CHUNK - 1) // CHUNK
    exponent = (1.0 - power) / power
    flat = math.pow(secant, 1.0 / power) / secant
    for item in range(first, last):
        r, c = item // chunks, item % chunks
        i, j = c * CHUNK, min(n, (c + 1) * CHUNK)
        part, part_grad, part_out, scale = x[r, i:j], grad[r, i:j], out[r, i:j], scales[r]
        for k in range(part.size):
            a = abs(np.float64(part[k]))
            g = np.float64(part_grad[k])
            if a > clip:
                part_out[k] = 0.0
            elif a > secant:
                part_out[k] = g * (scale * (math.pow(a, exponent) / power))
            else:
                part_out[k] = g * (scale * flat)


@njit(cache=True, nogil=True)
def sine_codes(x: Floats, frequency: float, codes: Codes, first: int, last: int) -> None:
    """Write the two-bit integer of the sign bit of sin(frequency x): 1 for +1, 3 for -1."""
    n = x.shape[1]
    chunks = (n + CHUNK - 1) // CHUNK
    for item in range(first, last):
        r, c = item // chunks, item % chunks
        i, j = c * CHUNK, min(n, (c + 1) * CHUNK)
        part, part_codes = x[r, i:j], codes[r, i:j]
        for k in range(part.size):
            wave = math.sin(frequency * np.float64(part[k]))
            part_codes[k] = 3 if math.copysign(1.0, wave) < 0.0 else 1


@njit(cache=True, nogil=True)
def sine_values(x: Floats, factor: float, frequency: float, out: Floats, first: int, last: int) -> None:
    """Write factor * sin(frequency x)."""
    n = x.shape[1]
    chunks = (n + CHUNK - 1) // CHUNK
    for item in range(first, last):
        r, c = item // chunks, item % chunks
        i, j = c * CHUNK, min(n, (c + 1) * CHUNK)
        part, part_out = x[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = factor * math.sin(frequency * np.float64(part[k]))


@njit(cache=True, nogil=True)
def sine_backward(x: Floats, grad: Floats, factor: float, frequency: float, out: Floats, first: int, last: int) -> None:
    """Write grad * (factor * cos(frequency x))."""
    n = x.shape[1]
    chunks = (n + CHUNK - 1) // CHUNK
    for item in range(first, last):
        r, c = item // chunks, item % chunks
        i, j = c * CHUNK, min(n, (c + 1) * CHUNK)
        part, part_grad, part_out = x[r, i:j], grad[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = np.float64(part_grad[k]) * (factor * math.cos(frequency * np.float64(part[k])))


@njit(cache=True, nogil=True)
def odd_codes(x: Floats, scales: Doubles, half: float, mask: int, codes: Codes, first: int, last: int) -> None:
    """Write the code of the odd integer 2 q + 1, q = x / (2 scale) - 1/2 to nearest even, from -half to half - 1."""
    n = x.shape[1]
    chunks = (n + CHUNK - 1) // CHUNK
    for item in range(first, last):
        r, c = item // chunks, item % chunks
        i, j = c * CHUNK, min(n, (c + 1) * CHUNK)
        part, part_codes, scale = x[r, i:j], codes[r, i:j], scales[r]
        for k in range(part.size):
            q = np.rint(np.float64(part[k]) / scale * 0.5 - 0.5)
            q = q if q < half - 1.0 else half - 1.0
            q = q if q > -half else -half
            part_codes[k] = (2 * np.int32(q) + 1) & mask


@njit(cache=True, nogil=True)
def frozen_mask(x: Floats, scales: Doubles, half: float, width: float, frozen: Flags, first: int, last: int) -> None:
    """Write whether x / (2 scale) is farther than `width` from every border, the integers between -half and half."""
    n = x.shape[1]
    chunks = (n + CHUNK - 1) // CHUNK
    for item in range(first, last):
        r, c = item // chunks, item % chunks
        i, j = c * CHUNK, min(n, (c + 1) * CHUNK)
        part, part_frozen, scale = x[r, i:j], frozen[r, i:j], scales[r]
        for k in range(part.size):
            v = np.float64(part[k]) / scale * 0.5
            border = np.rint(v)
            border = border if border < half - 1.0 else half - 1.0
            border = border if border > 1.0 - half else 1.0 - half
            part_frozen[k] = not abs(v - border) <= width


@njit(cache=True, nogil=True)
def n_of_m_mask(x: Floats, n: int, m: int, mask: Flags) -> None:
    """Write True for the n largest |x| of every m along the first axis; of equals, the earlier ones."""
    length, columns = x.shape
    for start in range(0, length, m):
        stop = min(length, start + m)
        for column in range(columns):
            for i in range(start, stop):
                a = abs(x[i, column])
                before = 0
                for j in range(start, stop):
                    b = abs(x[j, column])
                    before += b > a or (b == a and j < i)
                mask[i, column] = before < n


@njit(cache=True, nogil=True)
def tanh_values(x: Floats, bound: float, out: Floats, first: int, last: int) -> None:
    """Write bound * tanh(x / bound)."""
    n = x.shape[1]
    chunks = (n + CHUNK - 1) // CHUNK
    for item in range(first, last):
        r, c = item // chunks, item % chunks
        i, j = c * CHUNK, min(n, (c + 1) * CHUNK)
        part, part_out = x[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = bound * math.tanh(np.float64(part[k]) / bound)
