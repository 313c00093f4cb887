"""Golden kernels of the zeroth-order estimators: counter-based noise, and what is done with it.

Layout and chunks are those of `tetrit.estimators._kernels`. The noise of an element depends on a key and on the
element's number alone, so chunks need no order. Words are unsigned 64-bit integers that wrap around. Gaussian noise
uses +, -, * and / only, which IEEE 754 rounds correctly, so that any machine that keeps to float64 and contracts no
products into sums has the same bits.
"""

__all__ = ["LOG2_E", "added", "cross_entropy", "directions", "integer_added", "integer_directions", "words"]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import chunk_at
from tetrit.estimators.zeroth._quantile import (
    AREA_TANGENT,
    FAR_ABOVE,
    FAR_BELOW,
    LN2,
    MIDDLE_ABOVE,
    MIDDLE_BELOW,
    NEAR_ABOVE,
    NEAR_BELOW,
    ROOT_HALF,
)
from tetrit.noise._kernels import random_word

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Words: TypeAlias = NDArray[np.uint64]
Bytes: TypeAlias = NDArray[np.int8]
Longs: TypeAlias = NDArray[np.int64]

_S1 = np.uint64(1)
_S12 = np.uint64(12)
_S32 = np.uint64(32)
_S63 = np.uint64(63)
_LOW = np.uint64(0xFFFFFFFF)

LOG2_E = 24204406
"""log2 e in units of 2^-24."""


@njit(cache=True, nogil=True)
def _series(x: float, coefficients: tuple[float, ...]) -> float:
    """Polynomial by Horner's rule, highest power first, one rounding for each product and each sum."""
    value = coefficients[0]
    for k in range(1, len(coefficients)):
        value = value * x + coefficients[k]
    return value


@njit(cache=True, nogil=True)
def _log(x: float) -> float:
    """Natural logarithm of a positive normal number, by the series of the area tangent of (m - 1) / (m + 1)."""
    m, e = math.frexp(x)
    if m < ROOT_HALF:
        m = m * 2.0
        e = e - 1
    s = (m - 1.0) / (m + 1.0)
    return e * LN2 + 2.0 * s * _series(s * s, AREA_TANGENT)


@njit(cache=True, nogil=True)
def _root(x: float) -> float:
    """Square root of a number from 2 to 40 by Heron's rule: math libraries round theirs in different ways."""
    y = (x + 9.0) / 6.0
    for _ in range(5):
        y = 0.5 * (y + x / y)
    return y


@njit(cache=True, nogil=True)
def _normal(word: Any) -> float:
    """Return the normal quantile at p = (2 k + 1) 2^-53, k the top 52 bits of the word (Wichura's algorithm AS 241)."""
    p = (np.float64(word >> _S12) * 2.0 + 1.0) * 2.0**-53
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return _series(r, MIDDLE_ABOVE) * q / _series(r, MIDDLE_BELOW)
    root = _root(-_log(p if q < 0.0 else 1.0 - p))
    if root <= 5.0:
        tail = _series(root - 1.6, NEAR_ABOVE) / _series(root - 1.6, NEAR_BELOW)
    else:
        tail = _series(root - 5.0, FAR_ABOVE) / _series(root - 5.0, FAR_BELOW)
    return -tail if q < 0.0 else tail


@njit(cache=True, nogil=True)
def _direction(normal: bool, word: Any) -> float:
    if normal:
        return _normal(word)
    return -1.0 if (word >> _S63) == _S1 else 1.0


@njit(cache=True, nogil=True)
def words(out: Words, key: Any, offset: int, first: int, last: int) -> None:
    """Write the word of every element, the first having number `offset`."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, out.shape[1])
        for k in range(i, j):
            out[r, k] = random_word(key, offset + k)


@njit(cache=True, nogil=True)
def directions(out: Doubles, normal: bool, key: Any, offset: int, first: int, last: int) -> None:
    """Write the noise of every element: a standard normal, or +1 or -1 by the word's top bit."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, out.shape[1])
        for k in range(i, j):
            out[r, k] = _direction(normal, random_word(key, offset + k))


@njit(cache=True, nogil=True)
def added(x: Floats, normal: bool, key: Any, offset: int, factor: float, out: Floats, first: int, last: int) -> None:
    """Write x + factor noise, one rounding on the store."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for k in range(i, j):
            out[r, k] = np.float64(x[r, k]) + factor * _direction(normal, random_word(key, offset + k))


@njit(cache=True, nogil=True)
def _integer(key: Any, number: int, reach: int, rest: int) -> Any:
    """0 if the high half of the word is below `rest`, else uniform from -reach to reach by the low half."""
    word = random_word(key, number)
    if np.int64(word >> _S32) < rest:
        return np.int64(0)
    return np.int64((np.int64(word & _LOW) * (2 * reach + 1)) >> 32) - reach


@njit(cache=True, nogil=True)
def integer_directions(out: Bytes, key: Any, offset: int, reach: int, rest: int, first: int, last: int) -> None:
    """Write the integer noise of every element."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, out.shape[1])
        for k in range(i, j):
            out[r, k] = _integer(key, offset + k, reach, rest)


@njit(cache=True, nogil=True)
def integer_added(
    x: Bytes, key: Any, offset: int, reach: int, rest: int, times: int, shift: int, out: Bytes, first: int, last: int
) -> None:
    """Write x + times (noise shifted right, halves away from 0), held within -127 and 127."""
    half = (1 << shift) >> 1
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for k in range(i, j):
            z = _integer(key, offset + k, reach, rest)
            size = (abs(z) + half) >> shift
            value = np.int64(x[r, k]) + times * (-size if z < 0 else size)
            out[r, k] = np.int8(min(max(value, -127), 127))


@njit(cache=True, nogil=True)
def cross_entropy(logits: Longs, labels: Longs, exponent: int, table: Longs, losses: Longs) -> None:
    """Write log2 sum_j 2^(t_j - t_label) of every row, t = logits 2^exponent log2 e, in units of 2^-16.

    `table` holds 2^30 2^(-k/256) for k from 0 to 256.
    """
    shift = 8 - exponent
    half = np.int64(1) << (shift - 1)
    for i in range(logits.shape[0]):
        largest = logits[i, 0]
        for j in range(1, logits.shape[1]):
            largest = max(largest, logits[i, j])
        total = np.int64(0)
        gap = np.int64(0)
        for j in range(logits.shape[1]):
            u = ((largest - logits[i, j]) * LOG2_E + half) >> shift  # in units of 2^-16
            if j == labels[i]:
                gap = u
            whole = u >> 16
            if whole < 31:
                place, rest = (u >> 8) & 255, u & 255
                total += (table[place] + (((table[place + 1] - table[place]) * rest) >> 8)) >> whole
        bits = np.int64(0)
        while total >= 1 << 31:
            total = total >> 1
            bits += 1
        for _ in range(16):
            total = (total * total) >> 30
            bits = bits << 1
            if total >= 1 << 31:
                total = total >> 1
                bits += 1
        losses[i] = bits + gap
