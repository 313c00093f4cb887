"""How a format rounds, as a step function over the ordered bit patterns of IEEE doubles.

Rounding to a finite format is monotone, so it is fully described by a sorted list of borders. A double is given an
integer *key* that orders all bit patterns as the real line does (-NaN < -inf < ... < -0 < +0 < ... < +inf < +NaN),
one key apart from its neighbours; `Steps` says at which key each cell begins and which code it has. Ties, signed
zeros, infinities and NaN are then ordinary cells and need no cases of their own. Everything that encodes is derived
from this object.
"""

__all__ = ["Steps", "float_keys", "floats_from_keys", "midpoints", "steps_from_borders", "to_odd_float64"]

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEY_INF = 0x7FF0_0000_0000_0000
"""The key of +inf; keys above it, and those below ``~_KEY_INF`` (the key of -inf), are NaN."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Cells of the ordered doubles: cell i reaches from ``keys[i - 1]`` to just below ``keys[i]`` and has ``codes[i]``.

    Members
    -------
    keys : int64 array (n - 1,)
        The first key of every cell but the first one, ascending.
    codes : int64 array (n,)
        The code of every cell.
    """

    keys: NDArray[np.int64]
    codes: NDArray[np.int64]

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the code of each double: the definition of `encode`, of NaN too where the format has a cell for it."""
        return self.codes[np.searchsorted(self.keys, float_keys(x), side="right")]

    def keys32(self) -> NDArray[np.int64]:
        """Return for every cell the first key among the *single-precision* bit patterns (same order, 32 bits wide)."""
        inf32 = 0x7F80_0000
        finite = np.clip(self.keys, ~_KEY_INF, _KEY_INF)
        wide = floats_from_keys(finite)
        with np.errstate(over="ignore", under="ignore"):
            narrow = wide.astype(np.float32)
        bits = narrow.view(np.int32).astype(np.int64)
        keys = np.where(bits < 0, bits ^ 0x7FFF_FFFF, bits)
        keys += float_keys(narrow.astype(np.float64)) < finite
        keys = np.where(self.keys > _KEY_INF, inf32 + 1, keys)
        return np.where(self.keys < ~_KEY_INF, np.iinfo(np.int32).min, keys)


def float_keys(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the ordering key of every double."""
    bits = np.ascontiguousarray(x).view(np.int64)
    return np.where(bits < 0, bits ^ np.int64(0x7FFF_FFFF_FFFF_FFFF), bits)


def floats_from_keys(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the doubles that have these keys (the inverse of `float_keys`)."""
    bits = np.where(keys < 0, keys ^ np.int64(0x7FFF_FFFF_FFFF_FFFF), keys)
    return bits.view(np.float64)


def steps_from_borders(
    codes: Any,
    borders: Any,
    *,
    tie_possible: Any = True,
    split_zero: bool = True,
    nan_codes: tuple[int, int] | None = None,
) -> Steps:
    """Build the step function of cells in ascending order.

    A border that is itself a double belongs to the cell with the even code; of two cells of equal parity, to the one
    with the lower code.

    Parameters
    ----------
    codes : int array (n,)
        Codes of the cells from the most negative to the most positive.
    borders : float64 array (n - 1,)
        The border between each two neighbours.
    tie_possible : bool or bool array (n - 1,)
        False where the true border lies just below the double given, which then belongs to the upper cell.
    split_zero : bool
        Whether a border at -0.0 or +0.0 is just that number, so that the two zeros may fall into different cells.
    nan_codes : (int, int), optional
        Codes for NaN with the sign bit set and clear.
    """
    codes = np.asarray(codes, dtype=np.int64)
    lower, upper = codes[:-1], codes[1:]
    upper_wins = np.where((lower ^ upper) & 1, upper & 1 == 0, upper < lower) | ~np.asarray(tie_possible)
    keys = float_keys(np.asarray(borders, dtype=np.float64)) + ~upper_wins
    if not split_zero:
        keys[(np.asarray(borders) == 0) & upper_wins] = -1  # -0.0 as well
    if nan_codes is not None:
        keys = np.concatenate(([~_KEY_INF], keys, [_KEY_INF + 1]))
        codes = np.concatenate(([nan_codes[0]], codes, [nan_codes[1]]))
    same = codes[1:] == codes[:-1]
    keys, codes = keys[~same], codes[np.concatenate(([True], ~same))]
    keys.flags.writeable = codes.flags.writeable = False
    return Steps(keys=keys, codes=codes)


def midpoints(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the first double at or above the midpoint of each two neighbours, and whether it is the midpoint.

    Exact for any ascending finite doubles: where the midpoint is no double, it is found in rational arithmetic.
    """
    low, high = values[:-1] * 0.5, values[1:] * 0.5
    middle = low + high
    # Knuth's two-sum: the error of the addition, exactly
    part = middle - low
    exact = (low - (middle - part)) + (high - part) == 0
    exact &= (low * 2 == values[:-1]) & (high * 2 == values[1:])
    for i in np.flatnonzero(~exact):
        true_middle = (Fraction(float(values[i])) + Fraction(float(values[i + 1]))) / 2
        nearest = float(true_middle)
        if Fraction(nearest) < true_middle:
            nearest = float(np.nextafter(nearest, np.inf))
        middle[i] = nearest
        exact[i] = Fraction(nearest) == true_middle
    return middle, exact


def to_odd_float64(x: NDArray[Any]) -> NDArray[np.float64]:
    """Convert 64-bit integers or long doubles to doubles, rounding to odd.

    An inexact result gets the neighbour with the odd significand, so it lies on the same side as `x` of every number
    that has at most 52 significant bits. A second rounding to a format whose borders are such numbers is therefore
    exact.
    """
    residual: NDArray[Any]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        near = x.astype(np.float64)
        if x.dtype.kind in "iu":
            high = (x >> 32).astype(np.float64) * 2.0**32
            residual = (x & 0xFFFF_FFFF).astype(np.float64) - (near - high)
        else:
            residual = x - near
    even = (near.view(np.int64) & 1) == 0
    toward = np.where(residual > 0, np.inf, -np.inf)
    moved = even & ((residual > 0) | (residual < 0))
    return np.where(moved, np.nextafter(near, toward), near)
