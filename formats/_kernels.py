"""Compiled loops of the formats: three ways to round, which agree (`tetrit.formats._tables` chooses), and look-up.

Arrays and scalars only; callers validate, allocate and split the work over threads. No fastmath. Floats come as the
unsigned integers of their bit patterns. Each encoder returns the largest magnitude pattern that it met, so that the
caller sees a NaN without a second pass.
"""

__all__ = ["decode_lookup", "encode_binades", "encode_search", "encode_sticky"]

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.unsignedinteger]

_RUN = 2048
"""Elements between arithmetic, which the compiler makes vector code of, and look-ups, of which it cannot."""


@njit(cache=True, nogil=True)
def encode_sticky(bits: Words, dropped: Any, table: Words, out: Words) -> Any:
    """Look up floats rounded to odd: the bits above the `dropped` lowest, and one that says if any of those is set."""
    unit = bits.dtype.type(1)
    none = bits.dtype.type(0)
    low = (unit << dropped) - unit
    magnitude = ~none >> unit
    worst = none
    index = np.empty(_RUN, dtype=np.uint32)
    for start in range(0, bits.size, _RUN):
        run, target = bits[start : start + _RUN], out[start : start + _RUN]
        for i in range(run.size):
            b = run[i]
            worst = max(worst, b & magnitude)
            sticky = unit if b & low else none
            index[i] = ((b >> dropped) << unit) | sticky
        for i in range(run.size):
            target[i] = table[index[i]]
    return worst


@njit(cache=True, nogil=True)
def encode_binades(bits: Words, mantissa_bits: Any, rows: NDArray[np.uint32], table: Words, out: Words) -> Any:
    """Look up floats rounded to odd; sign and exponent choose the number of dropped bits and the part of the table."""
    unit = bits.dtype.type(1)
    none = bits.dtype.type(0)
    fraction = (unit << mantissa_bits) - unit
    magnitude = ~none >> unit
    field, field_bits = bits.dtype.type(63), bits.dtype.type(6)
    worst = none
    index = np.empty(_RUN, dtype=np.uint32)
    for start in range(0, bits.size, _RUN):
        run, target = bits[start : start + _RUN], out[start : start + _RUN]
        for i in range(run.size):
            index[i] = rows[run[i] >> mantissa_bits]
        for i in range(run.size):
            b = run[i]
            worst = max(worst, b & magnitude)
            row = bits.dtype.type(index[i])
            dropped = row & field
            m = b & fraction
            kept = m >> dropped
            sticky = unit if kept << dropped != m else none
            index[i] = (row >> field_bits) + ((kept << unit) | sticky)
        for i in range(run.size):
            target[i] = table[index[i]]
    return worst


@njit(cache=True, nogil=True)
def encode_search(
    bits: Words,
    keys: NDArray[np.int64],
    codes: Words,
    starts: NDArray[np.int32],
    out: Words,
) -> Any:
    """Find the cell of each float by bisection among the first keys that share its top 16 bits."""
    none = bits.dtype.type(0)
    magnitude = ~none >> bits.dtype.type(1)
    below = 8 * bits.itemsize - 16
    worst = none
    for i in range(bits.size):
        b = bits[i]
        size = b & magnitude
        worst = max(worst, size)
        key = np.int64(size) if b == size else ~np.int64(size)
        top = (key >> below) + 32768
        cell, end = starts[top], starts[top + 1]
        while cell < end:
            middle = (cell + end) >> 1
            if keys[middle] <= key:
                cell = middle + 1
            else:
                end = middle
        out[i] = codes[cell]
    return worst


@njit(cache=True, nogil=True)
def decode_lookup(codes: Words, mask: Any, table: NDArray[Any], out: NDArray[Any]) -> Any:
    """Look up each code's value; return the bits that any code had outside `mask`."""
    outside = mask & ~mask
    for i in range(codes.size):
        c = codes[i]
        outside |= c & ~mask
        out[i] = table[c & mask]
    return outside
