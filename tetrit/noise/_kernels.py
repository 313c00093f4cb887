"""Random words, and normals made of them, in operations that every machine rounds alike.

Only sums, products, square roots, conversions and operations on bits appear, so the results are the same bits on every
machine, for any number of threads, with and without the compiler. Nothing branches, so the compiler uses vector units.

Word to pair of normals (Box and Muller, 1958): the upper 31 bits are u in (0, 1), the lower 32 an angle; the pair is
``sqrt(-2 ln u)`` times cosine and sine of the angle, in float32. The angle's two leading bits choose one of four
quarters, the other 30 an angle within an eighth of a turn. The polynomials are those of Cephes (Moshier, 1992),
`logf.c`, `sinf.c` and `cosf.c`; their errors are below 1 unit in the last place of float32 there.
"""

__all__ = ["FIRST_FACTOR", "INCREMENT", "SECOND_FACTOR", "fill_normals", "fill_uniforms", "normal_pair", "random_word"]

import math
from typing import Any

import numpy as np
from numba import njit

INCREMENT, FIRST_FACTOR, SECOND_FACTOR = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""The constants of SplitMix64 (Steele, Lea, Flood, 2014)."""

_INCREMENT, _FIRST, _SECOND = np.uint64(INCREMENT), np.uint64(FIRST_FACTOR), np.uint64(SECOND_FACTOR)
_S11, _S27, _S30, _S31, _S33 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(33)
_ONE = np.uint64(1)

_LOG = (
    np.float32(7.0376836292e-2),
    np.float32(-1.1514610310e-1),
    np.float32(1.1676998740e-1),
    np.float32(-1.2420140846e-1),
    np.float32(1.4249322787e-1),
    np.float32(-1.6668057665e-1),
    np.float32(2.0000714765e-1),
    np.float32(-2.4999993993e-1),
    np.float32(3.3333331174e-1),
)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = _LOG
_SIN0, _SIN1, _SIN2 = np.float32(-1.6666654611e-1), np.float32(8.3321608736e-3), np.float32(-1.9515295891e-4)
_COS0, _COS1, _COS2 = (
    np.float32(4.166664568298827e-2),
    np.float32(-1.388731625493765e-3),
    np.float32(2.443315711809948e-5),
)
_HALF, _UNIT, _TWO = np.float32(0.5), np.float32(1.0), np.float32(2.0)
_TURN = np.float32(math.pi * 2.0**-31)
_TWO_LN_2 = np.float32(2.0 * math.log(2.0))
_MIDDLE = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
_EXPONENT, _LARGEST, _QUARTER, _TWO_BITS = np.int32(23), np.int32(31), np.int32(2**30), np.int32(2)


@njit(cache=True, nogil=True)
def random_word(key: Any, number: Any) -> Any:
    """Return output `number` of the generator SplitMix64 in the state `key`, both uint64: 64 random bits."""
    x = key + (np.uint64(number) + _ONE) * _INCREMENT
    x = (x ^ (x >> _S30)) * _FIRST
    x = (x ^ (x >> _S27)) * _SECOND
    return x ^ (x >> _S31)


@njit(cache=True, nogil=True)
def normal_pair(word: Any) -> Any:
    """Return the two independent standard normals, float32, of a random word; magnitudes are below 6.67."""
    u = np.float32(np.float32(np.int32(word >> _S33)) + _HALF)  # of 2^31
    bits = np.float32(u).view(np.int32)
    exponent = np.int32(np.int32(bits - _MIDDLE) >> _EXPONENT)
    m = np.int32(bits - np.int32(exponent << _EXPONENT)).view(np.float32) - _UNIT
    z = m * m
    log = _L4 + m * (_L3 + m * (_L2 + m * (_L1 + m * _L0)))
    log = _L8 + m * (_L7 + m * (_L6 + m * (_L5 + m * log)))
    log = m - (_HALF * z - m * z * log)
    radius = np.sqrt(np.float32(np.int32(_LARGEST - exponent)) * _TWO_LN_2 - _TWO * log)
    angle = np.int32(word)  # its lower half
    rest = np.int32(np.int32(angle << _TWO_BITS) >> _TWO_BITS)
    x = (np.float32(rest) + _HALF) * _TURN
    z = x * x
    sine = x + x * z * (_SIN0 + z * (_SIN1 + z * _SIN2))
    cosine = _UNIT - z * _HALF + z * z * (_COS0 + z * (_COS1 + z * _COS2))
    cosine = cosine if angle >= 0 else -cosine
    turned = (angle & _QUARTER) != 0
    return radius * (sine if turned else cosine), radius * (cosine if turned else sine)


@njit(cache=True, nogil=True)
def fill_normals(out: Any, key: Any, first: int, start: int, stop: int) -> None:
    """Write normals `first` + start to `first` + stop of a key's stream to out[start:stop]; `start` is even."""
    if first % 2 == 1 and start < stop:  # the second of a pair
        out[start] = normal_pair(random_word(key, (first + start) // 2))[1]
        start += 1
    word = np.uint64((first + start) // 2)
    here = out[start:stop]  # indices from 0 need no check of their sign, which would keep the loop from vectorising
    pairs = here.size // 2
    for p in range(pairs):
        one, other = normal_pair(random_word(key, word + np.uint64(p)))
        here[2 * p] = one
        here[2 * p + 1] = other
    if 2 * pairs < here.size:
        here[2 * pairs] = normal_pair(random_word(key, word + np.uint64(pairs)))[0]


@njit(cache=True, nogil=True)
def fill_uniforms(out: Any, key: Any, first: int, start: int, stop: int) -> None:
    """Write uniforms `first` + start to `first` + stop of a key's stream to out[start:stop]."""
    for k in range(start, stop):
        out[k] = np.float64(np.int64(random_word(key, first + k) >> _S11)) * 2.0**-53
