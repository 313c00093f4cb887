"""Sine, cosine, powers and random bits, written out in operations that all machines round alike, in a fixed order.

The C library's functions differ between platforms and are not vectorised by the compiler; these are, since nothing in
them branches. Measured against 200-bit arithmetic, errors are below 2.5 units in the last place, for powers at bases
from 2^-4 to 2^4 and exponents from -1 to 1 (the error grows with the logarithm of the result).

Sine and cosine have two steps: an angle within +-pi/2 that has the same sine (`sine_angle`, `cosine_angle`), and the
sine of that (`angle_sine`). A loop over an array is the faster for taking them one after the other on a block that
stays in the cache; the results are the same.

Constants: the parts of pi are twice those of pi/2 in fdlibm (Sun Microsystems, 1993), `e_rem_pio2.c`; the coefficients
of the sine are the polynomial of least relative error (Remez), 2^-60, rounded; logarithm and exponential are their
power series.
"""

__all__ = [
    "EXPONENTIAL",
    "HALF_TURNS",
    "LARGEST_PHASE",
    "LOGARITHM",
    "MIDDLE",
    "PI",
    "SINE",
    "SUBNORMAL",
    "angle_sine",
    "cosine",
    "cosine_angle",
    "powers",
    "sine",
    "sine_angle",
]

import math
from math import factorial
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]

LARGEST_PHASE = 2.0**20
"""Largest magnitude of a phase: up to it, products of whole and half turns with the parts of pi are exact."""

PI = (3.1415926534682512, 1.2154201012607932e-10, 4.044532497422333e-21, 1.69568553207378e-31)
"""pi as a sum of three numbers of 33 bits and a rest."""

SINE = (
    -0.16666666666666666,
    0.00833333333333324,
    -0.00019841269841221654,
    2.755731921273418e-06,
    -2.5052106980175455e-08,
    1.6058943530219454e-10,
    -7.643057639370616e-13,
    2.72158210428012e-15,
)
"""sin r = r + r^3 (c0 + c1 r^2 + ...) for |r| up to pi/2."""

LOGARITHM = tuple(2.0 / (math.log(2.0) * (2 * n + 1)) for n in range(11))
"""log2 m = f (c0 + c1 f^2 + ...), f = (m - 1) / (m + 1), for m from sqrt(1/2) to sqrt(2)."""

EXPONENTIAL = tuple(math.log(2.0) ** n / factorial(n) for n in range(15))
"""2^u = c0 + c1 u + ... for |u| up to 1/2."""

_P0, _P1, _P2, _P3 = PI
_S0, _S1, _S2, _S3, _S4, _S5, _S6, _S7 = SINE
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8, _L9, _L10 = LOGARITHM
_E0, _E1, _E2, _E3, _E4, _E5, _E6, _E7, _E8, _E9, _E10, _E11, _E12, _E13, _E14 = EXPONENTIAL
HALF_TURNS = 1.0 / math.pi
"""Half turns in a radian."""

SUBNORMAL = 2.0**-1022
"""What lies below has no exponent of its own."""

MIDDLE = 0x3FE6A09E667F3BCD
"""The bits of sqrt(1/2): from it to twice as much, a mantissa is taken as it is."""


@njit(cache=True, nogil=True)
def sine_angle(phase: float) -> float:
    """Return the angle from -pi/2 to pi/2 that has the sine of the phase; |phase| up to `LARGEST_PHASE`.

    Its sign is that of sin(phase); a zero is given back as it is.
    """
    turns = np.rint(phase * HALF_TURNS) + 0.0  # of a negative zero, -0.0 would take the sign
    r = ((phase - turns * _P0) - turns * _P1) - turns * _P2 - turns * _P3
    half = turns * 0.5
    return r if np.floor(half) == half else -r


@njit(cache=True, nogil=True)
def cosine_angle(phase: float) -> float:
    """Return the angle from -pi/2 to pi/2 whose sine is the cosine of the phase; |phase| up to `LARGEST_PHASE`."""
    whole = np.floor(phase * HALF_TURNS)
    turns = whole + 0.5
    r = ((phase - turns * _P0) - turns * _P1) - turns * _P2 - turns * _P3
    half = whole * 0.5
    return -r if np.floor(half) == half else r


@njit(cache=True, nogil=True)
def angle_sine(r: float) -> float:
    """Return sin(r) for |r| up to pi/2; a zero is given back as it is."""
    z = r * r
    value = _S0 + z * (_S1 + z * (_S2 + z * (_S3 + z * (_S4 + z * (_S5 + z * (_S6 + z * _S7))))))
    return r + r * z * value if r != 0.0 else r


@njit(cache=True, nogil=True)
def sine(phase: float) -> float:
    """Return sin(phase) for |phase| up to `LARGEST_PHASE`; a zero keeps its sign."""
    return angle_sine(sine_angle(phase))


@njit(cache=True, nogil=True)
def cosine(phase: float) -> float:
    """Return cos(phase) for |phase| up to `LARGEST_PHASE`."""
    return angle_sine(cosine_angle(phase))


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
