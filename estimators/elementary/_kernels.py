"""Sine, cosine, powers and random bits, written out in operations that all machines round alike, in a fixed order.

The C library's functions differ between platforms and are not vectorised by the compiler; these are, since nothing in
them branches. Measured against 200-bit arithmetic, errors are below 2.5 units in the last place, for powers at bases
from 2^-4 to 2^4 and exponents from -1 to 1 (the error grows with the logarithm of the result).

Constants: the parts of pi/2 and the coefficients of sine and cosine are those of fdlibm (Sun Microsystems, 1993),
`e_rem_pio2.c`, `k_sin.c`, `k_cos.c`; logarithm and exponential are their power series.
"""

__all__ = [
    "COSINE",
    "EXPONENTIAL",
    "FIRST_FACTOR",
    "HALF_PI",
    "INCREMENT",
    "LARGEST_PHASE",
    "LOGARITHM",
    "MIDDLE",
    "SECOND_FACTOR",
    "SINE",
    "SUBNORMAL",
    "TURNS",
    "cosine",
    "powers",
    "random_word",
    "sine",
]

import math
from math import factorial
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]

LARGEST_PHASE = 2.0**20
"""Largest magnitude of a phase: up to it, products of quarter turns with the parts of pi/2 are exact."""

HALF_PI = (1.57079632673412561417, 6.07710050630396597660e-11, 2.02226624871116645580e-21, 8.47842766036889956997e-32)
"""pi/2 as a sum of three numbers of 33 bits and a rest."""

SINE = (
    -1.66666666666666324348e-01,
    8.33333333332248946124e-03,
    -1.98412698298579493134e-04,
    2.75573137070700676789e-06,
    -2.50507602534068634195e-08,
    1.58969099521155010221e-10,
)
"""sin r = r + r^3 (c0 + c1 r^2 + ...) for |r| up to pi/4."""

COSINE = (
    4.16666666666666019037e-02,
    -1.38888888888741095749e-03,
    2.48015872894767294178e-05,
    -2.75573143513906633035e-07,
    2.08757232129817482790e-09,
    -1.13596475577881948265e-11,
)
"""cos r = 1 - r^2 / 2 + r^4 (c0 + c1 r^2 + ...) for |r| up to pi/4."""

LOGARITHM = tuple(2.0 / (math.log(2.0) * (2 * n + 1)) for n in range(11))
"""log2 m = f (c0 + c1 f^2 + ...), f = (m - 1) / (m + 1), for m from sqrt(1/2) to sqrt(2)."""

EXPONENTIAL = tuple(math.log(2.0) ** n / factorial(n) for n in range(15))
"""2^u = c0 + c1 u + ... for |u| up to 1/2."""

_P0, _P1, _P2, _P3 = HALF_PI
_S0, _S1, _S2, _S3, _S4, _S5 = SINE
_C0, _C1, _C2, _C3, _C4, _C5 = COSINE
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8, _L9, _L10 = LOGARITHM
_E0, _E1, _E2, _E3, _E4, _E5, _E6, _E7, _E8, _E9, _E10, _E11, _E12, _E13, _E14 = EXPONENTIAL
TURNS = 2.0 / math.pi
"""Quarter turns in a radian."""

SUBNORMAL = 2.0**-1022
"""What lies below has no exponent of its own."""

MIDDLE = 0x3FE6A09E667F3BCD
"""The bits of sqrt(1/2): from it to twice as much, a mantissa is taken as it is."""


INCREMENT, FIRST_FACTOR, SECOND_FACTOR = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""The constants of SplitMix64 (Steele, Lea, Flood, 2014)."""

_INCREMENT, _FIRST, _SECOND = np.uint64(INCREMENT), np.uint64(FIRST_FACTOR), np.uint64(SECOND_FACTOR)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


@njit(cache=True, nogil=True)
def random_word(key: Any, number: int) -> Any:
    """Return output `number` of the generator SplitMix64 in the state `key`, both uint64: 64 random bits."""
    x = key + (np.uint64(number) + np.uint64(1)) * _INCREMENT
    x = (x ^ (x >> _S30)) * _FIRST
    x = (x ^ (x >> _S27)) * _SECOND
    return x ^ (x >> _S31)


@njit(cache=True, nogil=True)
def _wave(phase: float, quarters: int) -> float:
    """Return sin(phase + quarters pi/2) for |phase| up to `LARGEST_PHASE`."""
    turns = np.rint(phase * TURNS)
    r = ((phase - turns * _P0) - turns * _P1) - turns * _P2 - turns * _P3
    z = r * r
    s = r + r * z * (_S0 + z * (_S1 + z * (_S2 + z * (_S3 + z * (_S4 + z * _S5)))))
    c = 1.0 - (0.5 * z - z * z * (_C0 + z * (_C1 + z * (_C2 + z * (_C3 + z * (_C4 + z * _C5))))))
    place = np.int64(turns) + quarters
    value = c if place & 1 else s
    return -value if place & 2 else value


@njit(cache=True, nogil=True)
def sine(phase: float) -> float:
    """Return sin(phase) for |phase| up to `LARGEST_PHASE`; a zero keeps its sign."""
    return _wave(phase, 0) if phase != 0.0 else phase


@njit(cache=True, nogil=True)
def cosine(phase: float) -> float:
    """Return cos(phase) for |phase| up to `LARGEST_PHASE`."""
    return _wave(phase, 1)


@njit(cache=True, nogil=True, error_model="numpy")  # Python's check for division by 0 would keep it from vectorising
def powers(bases: Doubles, exponent: float, out: Doubles) -> None:
    """Write base^exponent = 2^(exponent log2 base) for positive, finite bases; infinity or 0 where float64 ends."""
    n = bases.size
    wholes, steps = np.empty(n), np.empty(2 * n, np.int64)
    mantissas = np.empty(n, np.int64)
    factors = steps.view(np.float64)
    # as integers, the bits of floats are what a vector unit can take apart
    for k in range(n):
        small = bases[k] < SUBNORMAL
        out[k] = bases[k] * 2.0**54 if small else bases[k]
        wholes[k] = -54.0 if small else 0.0
    bits = out.view(np.int64)
    for k in range(n):
        whole = (bits[k] - MIDDLE) >> 52
        wholes[k] += np.float64(whole)
        mantissas[k] = bits[k] - (whole << 52)
    m = mantissas.view(np.float64)
    for k in range(n):
        f = (m[k] - 1.0) / (m[k] + 1.0)
        z = f * f
        log = _L5 + z * (_L6 + z * (_L7 + z * (_L8 + z * (_L9 + z * _L10))))
        log = _L0 + z * (_L1 + z * (_L2 + z * (_L3 + z * (_L4 + z * log))))
        t = exponent * (wholes[k] + f * log)
        t = t if t < 1100.0 else 1100.0
        t = t if t > -1200.0 else -1200.0
        nearest = np.rint(t)
        u = t - nearest
        value = _E8 + u * (_E9 + u * (_E10 + u * (_E11 + u * (_E12 + u * (_E13 + u * _E14)))))
        value = _E0 + u * (_E1 + u * (_E2 + u * (_E3 + u * (_E4 + u * (_E5 + u * (_E6 + u * (_E7 + u * value)))))))
        out[k] = value
        half = np.int64(nearest) >> 1  # 2^nearest in two factors, since it may be out of range itself
        steps[k] = (half + 1023) << 52
        steps[n + k] = (np.int64(nearest) - half + 1023) << 52
    for k in range(n):
        out[k] = out[k] * factors[k] * factors[n + k]
