"""Compiled loops of the formats: three ways to round, which agree (`tetrit.formats._tables` chooses), and look-up.

Arrays and scalars only; callers validate, allocate and split the work over threads. No fastmath. Floats come as the
unsigned integers of their bit patterns. Each encoder returns the largest magnitude pattern that it met, so that the
caller sees a NaN without a second pass.
"""

__all__ = [
    "block_e2m1_codes",
    "block_e2m1_rounded",
    "block_integer_codes",
    "block_integer_rounded",
    "block_maxima",
    "block_values",
    "decode_lookup",
    "encode_binades",
    "encode_search",
    "encode_sticky",
    "nearest",
]

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
def nearest(
    bits: Words,
    kind: int,
    dropped: int,
    rows: NDArray[np.uint32],
    keys: NDArray[np.int64],
    starts: NDArray[np.int32],
    table: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Write the entry of `table` for each float64, given as its bits: `Nearest` of `tetrit.formats._tables`."""
    if kind == 0:
        encode_sticky(bits, np.uint64(dropped), table, out)
    elif kind == 1:
        encode_binades(bits, np.uint64(52), rows, table, out)
    else:
        encode_search(bits, keys, table, starts, out)


@njit(cache=True, nogil=True)
def decode_lookup(codes: Words, mask: Any, table: NDArray[Any], out: NDArray[Any]) -> Any:
    """Look up each code's value; return the bits that any code had outside `mask`."""
    outside = mask & ~mask
    for i in range(codes.size):
        c = codes[i]
        outside |= c & ~mask
        out[i] = table[c & mask]
    return outside


@njit(cache=True, nogil=True)
def _place(item: int, blocks: int) -> tuple[int, int]:
    """Return row and number in the row of a block; 0, 0 where rows have none."""
    return (item // blocks, item % blocks) if blocks else (0, 0)


@njit(cache=True, nogil=True)
def _next(r: int, b: int, blocks: int) -> tuple[int, int]:
    """Return row and number of the block that follows, without a division."""
    return (r, b + 1) if b + 1 < blocks else (r + 1, 0)


@njit(cache=True, nogil=True)
def block_maxima(bits: Words, block: int, worst: Words, first: int, last: int) -> None:
    """Write the largest magnitude pattern of the blocks `first` to before `last` of the rows."""
    n = bits.shape[1]
    blocks = (n + block - 1) // block
    none = bits.dtype.type(0)
    magnitude = ~none >> bits.dtype.type(1)
    r, b = _place(first, blocks)
    for item in range(first, last):
        part = bits[r, b * block : min(n, (b + 1) * block)]
        largest = none
        for i in range(part.size):
            largest = max(largest, part[i] & magnitude)
        worst[item] = largest
        r, b = _next(r, b, blocks)


@njit(cache=True, nogil=True)
def block_e2m1_codes(
    x: NDArray[Any], block: int, scales: NDArray[np.floating], out: Words, first: int, last: int
) -> None:
    """Write the E2M1 code of x / scale: the number of borders below |x|, each an exact product, and the sign bit."""
    n = x.shape[1]
    blocks = (n + block - 1) // block
    real = scales.dtype.type
    r, b = _place(first, blocks)
    for item in range(first, last):
        part, target = x[r, b * block : min(n, (b + 1) * block)], out[r, b * block : min(n, (b + 1) * block)]
        s = scales[item]
        b0, b1, b2, b3 = real(0.25) * s, real(0.75) * s, real(1.25) * s, real(1.75) * s
        b4, b5, b6 = real(2.5) * s, real(3.5) * s, real(5.0) * s
        for i in range(part.size):
            w = real(part[i])
            a = abs(w)
            below = np.int32(a > b0) + np.int32(a >= b1) + np.int32(a > b2) + np.int32(a >= b3)
            below += np.int32(a > b4) + np.int32(a >= b5) + np.int32(a > b6)
            target[i] = below + 8 * np.int32(np.copysign(real(1.0), w) < 0)
        r, b = _next(r, b, blocks)


@njit(cache=True, nogil=True)
def block_e2m1_rounded(
    x: NDArray[Any], block: int, scales: NDArray[np.floating], out: NDArray[Any], first: int, last: int
) -> None:
    """Write what the codes of `block_e2m1_codes` stand for: the steps between the values below |x|, times the scale."""
    n = x.shape[1]
    blocks = (n + block - 1) // block
    real = scales.dtype.type
    r, b = _place(first, blocks)
    for item in range(first, last):
        part, target = x[r, b * block : min(n, (b + 1) * block)], out[r, b * block : min(n, (b + 1) * block)]
        s = scales[item]
        half = real(0.5) * s
        b0, b1, b2, b3 = real(0.25) * s, real(0.75) * s, real(1.25) * s, real(1.75) * s
        b4, b5, b6 = real(2.5) * s, real(3.5) * s, real(5.0) * s
        for i in range(part.size):
            w = real(part[i])
            a = abs(w)
            below = np.int32(a > b0) + np.int32(a >= b1) + np.int32(a > b2) + np.int32(a >= b3)
            below += np.int32(2) * (np.int32(a > b4) + np.int32(a >= b5)) + np.int32(4) * np.int32(a > b6)
            target[i] = np.copysign(real(below) * half, w)
        r, b = _next(r, b, blocks)


@njit(cache=True, nogil=True)
def block_integer_codes(
    x: NDArray[Any],
    block: int,
    scales: NDArray[np.floating],
    largest: float,
    mask: int,
    out: Words,
    first: int,
    last: int,
) -> None:
    """Write the two's-complement code of x / scale, a power of two, to nearest even and held within +-largest."""
    n = x.shape[1]
    blocks = (n + block - 1) // block
    real = scales.dtype.type
    top = real(largest)
    r, b = _place(first, blocks)
    for item in range(first, last):
        part, target = x[r, b * block : min(n, (b + 1) * block)], out[r, b * block : min(n, (b + 1) * block)]
        inverse = real(1.0) / scales[item]
        for i in range(part.size):
            q = np.rint(real(part[i]) * inverse)
            q = q if q < top else top
            q = q if q > -top else -top
            target[i] = np.int32(q) & mask
        r, b = _next(r, b, blocks)


@njit(cache=True, nogil=True)
def block_integer_rounded(
    x: NDArray[Any],
    block: int,
    scales: NDArray[np.floating],
    largest: float,
    out: NDArray[Any],
    first: int,
    last: int,
) -> None:
    """Write what the codes of `block_integer_codes` stand for."""
    n = x.shape[1]
    blocks = (n + block - 1) // block
    real = scales.dtype.type
    top = real(largest)
    r, b = _place(first, blocks)
    for item in range(first, last):
        part, target = x[r, b * block : min(n, (b + 1) * block)], out[r, b * block : min(n, (b + 1) * block)]
        scale = scales[item]
        inverse = real(1.0) / scale
        for i in range(part.size):
            q = np.rint(real(part[i]) * inverse)
            q = q if q < top else top
            q = q if q > -top else -top
            target[i] = (q + real(0.0)) * scale  # an integer has no -0.0
        r, b = _next(r, b, blocks)


@njit(cache=True, nogil=True)
def block_values(
    codes: Words,
    block: int,
    mask: Any,
    table: NDArray[np.float64],
    scales: NDArray[np.float64],
    out: NDArray[Any],
    first: int,
    last: int,
) -> Any:
    """Write each code's value times its block's scale; return the bits that any code had outside `mask`."""
    n = codes.shape[1]
    blocks = (n + block - 1) // block
    outside = mask & ~mask
    r, b = _place(first, blocks)
    for item in range(first, last):
        part, target = codes[r, b * block : min(n, (b + 1) * block)], out[r, b * block : min(n, (b + 1) * block)]
        scale = scales[item]
        for i in range(part.size):
            c = part[i]
            outside |= c & ~mask
            target[i] = table[c & mask] * scale
        r, b = _next(r, b, blocks)
    return outside
