"""Slow references of the zeroth-order estimators: Python integers and floats, written from the formulas.

They share no code with the kernels and are the readable specification; tests hold the kernels to them bit by bit. Only
the quantile of normal noise has no second formula here: its polynomials are those of `_quantile`, evaluated term by
term; tests hold it to the standard library.
"""

__all__ = [
    "added",
    "cross_entropy",
    "direction",
    "integer_added",
    "integer_direction",
    "word",
]

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators.zeroth import _quantile

_WORD = 2**64


def _mixed(x: int) -> int:
    x = (x ^ x // 2**30) * 0xBF58476D1CE4E5B9 % _WORD
    x = (x ^ x // 2**27) * 0x94D049BB133111EB % _WORD
    return x ^ x // 2**31


def word(seed: int, number: int) -> int:
    """Word `number` of a seed: the hash of the seed's own hash plus number + 1 golden ratios."""
    golden = 0x9E3779B97F4A7C15
    return _mixed((_mixed((seed + golden) % _WORD) + (number + 1) * golden) % _WORD)


def _polynomial(x: float, coefficients: Sequence[float]) -> float:
    return reduce(lambda value, c: value * x + c, coefficients)


def _log(x: float) -> float:
    exponent = 0
    while x < 0.5:
        x, exponent = x * 2.0, exponent - 1
    if x < math.sqrt(0.5):
        x, exponent = x * 2.0, exponent - 1
    s = (x - 1.0) / (x + 1.0)
    return exponent * math.log(2.0) + 2.0 * s * _polynomial(s * s, [1.0 / n for n in range(21, 0, -2)])


def direction(distribution: str, seed: int, number: int) -> float:
    """Noise of one element."""
    w = word(seed, number)
    if distribution == "rademacher":
        return -1.0 if w >= 2**63 else 1.0
    p = float(Fraction(2 * (w // 2**12) + 1, 2**53))
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return _polynomial(r, _quantile.MIDDLE_ABOVE) * q / _polynomial(r, _quantile.MIDDLE_BELOW)
    x = -_log(min(p, 1.0 - p))
    r = (x + 9.0) / 6.0
    for _ in range(5):
        r = 0.5 * (r + x / r)
    if r <= 5.0:
        tail = _polynomial(r - 1.6, _quantile.NEAR_ABOVE) / _polynomial(r - 1.6, _quantile.NEAR_BELOW)
    else:
        tail = _polynomial(r - 5.0, _quantile.FAR_ABOVE) / _polynomial(r - 5.0, _quantile.FAR_BELOW)
    return math.copysign(tail, q)


def added(w: NDArray[Any], factor: float, *, distribution: str, seed: int, offset: int = 0) -> NDArray[Any]:
    """Return ``w + factor * z``, in the dtype of `w`."""
    out = np.empty_like(w, order="C")
    for number, index in enumerate(np.ndindex(*w.shape)):
        out[index] = float(w[index]) + factor * direction(distribution, seed, offset + number)
    return out


def integer_direction(seed: int, number: int, reach: int, zero_share: float) -> int:
    """Integer noise of one element."""
    high, low = divmod(word(seed, number), 2**32)
    if high < round(zero_share * 2**32):
        return 0
    return low * (2 * reach + 1) // 2**32 - reach


def integer_added(
    w: NDArray[np.int8], times: int, *, reach: int, zero_share: float, shift: int, seed: int, offset: int = 0
) -> NDArray[np.int8]:
    """Return ``w + times * (z / 2^shift, halves away from 0)``, held within -127 and 127."""
    out = np.empty_like(w, order="C")
    for number, index in enumerate(np.ndindex(*w.shape)):
        z = integer_direction(seed, offset + number, reach, zero_share)
        size = math.floor(Fraction(abs(z), 2**shift) + Fraction(1, 2)) if shift else abs(z)
        out[index] = min(max(int(w[index]) + times * (size if z > 0 else -size), -127), 127)
    return out


def cross_entropy(logits: Sequence[int], label: int, exponent: int) -> float:
    """Cross-entropy of one row in bits, in floating point."""
    t = [a * 2.0**exponent for a in logits]
    top = max(t)
    return (top - t[label] + math.log(math.fsum(math.exp(v - top) for v in t))) / math.log(2.0)
