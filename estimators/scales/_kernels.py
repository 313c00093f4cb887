"""Kernels of rounding to any format at a scale: the values, sums of squared errors, and bounds on these.

Under the rules of `tetrit.estimators._kernels`: chunks, float64, fixed order. The bounds come from a histogram of a
row's magnitudes, one bin for every sign-free pattern of a float32's exponent and top mantissa bits. Between two borders
of a format, where one value q stands for everything, n magnitudes with the sum s have the squared error q^2 n - 2 q s
and a sum of squares that is the same at every scale. What is left open is on which side of a border the magnitudes in
the border's own bin lie.
"""

__all__ = ["NO_EXPONENT", "PART", "binned_choices", "binned_parts", "rounded", "rounding_errors", "row_choices"]

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import CHUNK, LANES, chunk_at, lane_total
from tetrit.formats._kernels import nearest

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[Any]
Flags: TypeAlias = NDArray[np.bool_]

PART = 1 << 16
"""Magnitudes that one histogram counts: the patterns of as many add up to less than 2^47."""

NO_EXPONENT = -(1 << 30)

_COUNT = 47  # the lowest bit of a bin's count, above the sum of its patterns
_MANTISSA, _BIAS = 23, 127
_NEAR = 2.0**-40  # more than the rounding of a border
_OCTAVES = 32  # of bins below the largest magnitude that are told apart
_BLOCK = 512  # of float64 several times over: with as much again they would not fit in the nearest cache


@njit(cache=True, nogil=True)
def _held(x: float, largest: float) -> float:
    held = largest if x > largest else x
    return -largest if held < -largest else held


@njit(cache=True, nogil=True)
def _in_units(x: Floats, scale: float, exact: bool, largest: float, out: Doubles) -> None:
    """Write x / scale, held within +-largest; with the inverse of a power of two (`exact`) a product gives the same."""
    if exact:
        inverse = 1.0 / scale
        for k in range(x.size):
            out[k] = _held(np.float64(x[k]) * inverse, largest)
    else:
        for k in range(x.size):
            out[k] = _held(np.float64(x[k]) / scale, largest)


@njit(cache=True, nogil=True)
def rounding_errors(
    x: Floats,
    factors: Doubles,
    scales: Doubles,
    exact: bool,
    kind: int,
    dropped: int,
    table_rows: Words,
    keys: Words,
    starts: Words,
    values: Doubles,
    largest: float,
    wanted: Flags,
    parts: Doubles,
    first: int,
    last: int,
) -> None:
    """Write the sum of squared errors of every chunk at each of a row's scales, in units of its own.

    Parameters
    ----------
    x : array, shape (rows, row length)
    factors : array of float64, shape (rows, 2)
        A row is taken times one, then times the other.
    scales : array of float64, shape (rows, scales)
    exact : bool
        Whether all scales are powers of two.
    kind, dropped, table_rows, keys, starts, values
        See `nearest` of the formats.
    largest : float
        Units are held within +-largest.
    wanted : array of bool, shape (rows, scales)
        The other sums are not written.
    parts : array of float64, shape (rows, scales, chunks)
    """
    lanes = np.empty((scales.shape[1], LANES))
    whole, units, found = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for item in range(first, last):
        r, c, i, j = chunk_at(item, x.shape[1])
        lanes[:] = 0.0
        for start in range(i, j, _BLOCK):
            block = x[r, start : min(j, start + _BLOCK)]
            n = block.size
            own, unit, value = whole[:n], units[:n], found[:n]
            for k in range(n):
                own[k] = np.float64(block[k]) * factors[r, 0] * factors[r, 1]
            for q in range(scales.shape[1]):
                if not wanted[r, q]:
                    continue
                scale, sums = scales[r, q], lanes[q]
                _in_units(own, scale, exact, largest, unit)
                nearest(unit.view(np.uint64), kind, dropped, table_rows, keys, starts, values, value)
                for k in range(n):
                    error = value[k] * scale - own[k]
                    value[k] = error * error
                full = n // LANES * LANES
                for b in range(0, full, LANES):
                    some = value[b : b + LANES]
                    for k in range(LANES):
                        sums[k] += some[k]
                for k in range(n - full):
                    sums[k] += value[full + k]
        for q in range(scales.shape[1]):
            if wanted[r, q]:
                parts[r, q, c] = lane_total(lanes[q])


@njit(cache=True, nogil=True)
def rounded(
    x: Floats,
    scales: Doubles,
    exact: bool,
    largest: float,
    kind: int,
    dropped: int,
    table_rows: Words,
    keys: Words,
    starts: Words,
    values: Doubles,
    out: Floats,
    first: int,
    last: int,
) -> None:
    """Write the nearest value of a format to x / scale, held within +-largest, times the row's scale.

    The tables are those of `rounding_errors`.
    """
    units, found = np.empty(_BLOCK), np.empty(_BLOCK)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        scale = scales[r]
        for start in range(i, j, _BLOCK):
            block, target = x[r, start : min(j, start + _BLOCK)], out[r, start : min(j, start + _BLOCK)]
            n = block.size
            unit, value = units[:n], found[:n]
            _in_units(block, scale, exact, largest, unit)
            nearest(unit.view(np.uint64), kind, dropped, table_rows, keys, starts, values, value)
            for k in range(n):
                target[k] = value[k] * scale


@njit(cache=True, nogil=True)
def _binned(bits: Words, kept: int, bins: Words) -> None:
    """Count up to `PART` float32 patterns by exponent and the `kept` highest mantissa bits, and add them up."""
    bins[:] = np.uint64(0)
    dropped, one, magnitude = np.uint64(_MANTISSA - kept), np.uint64(1 << _COUNT), np.uint64(0x7FFFFFFF)
    n = bits.size // 4
    a, b, c, d = bits[:n], bits[n : 2 * n], bits[2 * n : 3 * n], bits[3 * n : 4 * n]
    for k in range(n):  # four are read before the first store, which for all that is known may change the next
        w, x, y, z = (
            np.uint64(a[k]) & magnitude,
            np.uint64(b[k]) & magnitude,
            np.uint64(c[k]) & magnitude,
            np.uint64(d[k]) & magnitude,
        )
        bins[w >> dropped] += one | w
        bins[x >> dropped] += one | x
        bins[y >> dropped] += one | y
        bins[z >> dropped] += one | z
    for k in range(4 * n, bits.size):
        w = np.uint64(bits[k]) & magnitude
        bins[w >> dropped] += one | w


@njit(cache=True, nogil=True)
def binned_parts(bits: Words, kept: int, bins: Words, first: int, last: int) -> None:
    """Write the histogram of each `PART` of the rows into (rows, parts, bins) of uint64."""
    for item in range(first, last):
        r, p = item // bins.shape[1], item % bins.shape[1]
        _binned(bits[r, p * PART : (p + 1) * PART], kept, bins[r, p])


@njit(cache=True, nogil=True)
def _power(exponent: int) -> float:
    """Return 2^exponent, a normal number."""
    return float(np.int64((exponent + 1023) << 52).view(np.float64))


@njit(cache=True, nogil=True)
def _frexp(b: int, kept: int) -> int:
    """Return the exponent, as of frexp, of what is in a bin of normal numbers."""
    return (b >> kept) - _BIAS + 1


@njit(cache=True, nogil=True)
def _edge(b: int, kept: int, floor: int, exponent: int) -> float:
    """Return the least magnitude of a bin in units of 2^exponent; 0 for that of all up to `floor`."""
    if b <= floor:
        return 0.0
    return float((1 << kept) + (b & ((1 << kept) - 1))) * _power((b >> kept) - _BIAS - kept - exponent)


@njit(cache=True, nogil=True)
def _bin_of(x: float, kept: int, exponent: int, floor: int, end: int) -> int:
    """Return the bin of x 2^exponent, or the nearer one of `floor` and `end`."""
    b = int(np.float64(x).view(np.int64) >> (52 - kept)) + ((exponent - 1023 + _BIAS) << kept)
    return min(max(b, floor), end)


@njit(cache=True, nogil=True)
def _totals(bins: Words, n: int, kept: int, floor: int, top: int, heads: Doubles, sums: Doubles) -> float:
    """Write how many magnitudes lie below every bin from `floor` to `top` + 1, and their sum; bound all squares.

    In units of 2^exponent of the bin `top`. Up to `floor` all is one bin, whose sum counts as 0. `bins` has the
    histograms of the parts of a row of `n`.
    """
    exponent, mask = _frexp(top, kept), np.uint64((1 << _COUNT) - 1)
    count, total, squares = 0, 0.0, 0.0
    for b in range(floor + 1, top + 1):
        heads[b - floor], sums[b - floor] = float(count), total
        here = patterns = 0
        for p in range(bins.shape[0]):
            here += int(bins[p, b] >> np.uint64(_COUNT))
            patterns += int(bins[p, b] & mask)
        if here > 0:
            place = b >> kept
            whole = patterns - here * ((place - 1) << _MANTISSA)  # the pattern's exponent is its leading bit
            total += float(whole) * _power(place - _BIAS - _MANTISSA - exponent)
            squares += float(here) * _edge(b + 1, kept, floor, exponent) ** 2
            count += here
    lost = float(n - count)
    heads[0], sums[0] = 0.0, 0.0
    for b in range(1, top + 1 - floor):
        heads[b] += lost
    heads[top + 1 - floor], sums[top + 1 - floor] = float(n), total
    return squares + lost * _edge(floor + 1, kept, floor, exponent) ** 2


@njit(cache=True, nogil=True)
def _bounds(
    scale: float,
    exact: bool,
    borders: Doubles,
    values: Doubles,
    kept: int,
    floor: int,
    top: int,
    heads: Doubles,
    sums: Doubles,
) -> tuple[float, float, float]:
    """Return the least and the greatest sum of squared errors less that of squares, and how large their terms are.

    They are infinite where two borders that matter share a bin, or one may be in another bin but for rounding.
    """
    exponent, at, end = _frexp(top, kept), floor, floor
    base = less = more = size = 0.0
    for i in range(values.size):
        lower, at, end = values[i] * scale, end, top + 1
        if i < borders.size:
            limit = borders[i] * scale
            end = b = _bin_of(limit, kept, exponent, floor, top + 1)
            if not exact:
                below = _bin_of(limit * (1.0 - _NEAR), kept, exponent, floor, top + 1)
                above = _bin_of(limit * (1.0 + _NEAR), kept, exponent, floor, top + 1)
                if below != above:
                    return -np.inf, np.inf, 0.0
            n = heads[b + 1 - floor] - heads[b - floor] if b <= top else 0.0
            if n > 0.0:
                if b < at:
                    return -np.inf, np.inf, 0.0
                # what a magnitude x in the bin gains from the upper value grows with x
                upper = values[i + 1] * scale
                first, last = _edge(b, kept, floor, exponent), _edge(b + 1, kept, floor, exponent)
                step, middle = upper - lower, lower + upper
                gain = step * (2.0 * limit - middle)
                if limit - first < last - limit:
                    less += n * min(0.0, step * (2.0 * first - middle))
                    more += n * max(0.0, gain)
                else:
                    end = b + 1
                    less -= n * max(0.0, step * (2.0 * last - middle))
                    more -= n * min(0.0, gain)
        if end > at:
            count, total = heads[end - floor] - heads[at - floor], sums[end - floor] - sums[at - floor]
            base += lower * (lower * count - 2.0 * total)
            size += lower * (lower * count + 2.0 * total)
            if at == floor:
                less -= 2.0 * lower * heads[1] * _edge(floor + 1, kept, floor, exponent)
        end = max(end, at)
        if end > top:
            break
    return base + less, base + more, size + values[-1] * scale * sums[top + 1 - floor]


@njit(cache=True, nogil=True)
def binned_choices(
    bins: Words,
    n: int,
    kept: int,
    borders: Doubles,
    values: Doubles,
    scales: Doubles,
    exact: bool,
    exponents: Integers,
    keep: Flags,
    first: int,
    last: int,
) -> None:
    """Write for every row which scales may be the best, and the exponent, as of frexp, of the largest magnitude.

    `NO_EXPONENT`, and all scales, where that magnitude is 0, subnormal or not finite.

    Parameters
    ----------
    bins : array of uint64, shape (rows, parts, bins)
        The histograms of `binned_parts`.
    n : int
        Length of a row.
    kept : int
    borders, values : arrays of float64
        `tetrit.formats.RealFormat.magnitude_cells`.
    scales : array of float64, shape (rows, scales)
        In units of 2^exponent.
    exact : bool
        Whether all scales are powers of two.
    exponents, keep : arrays of int64 and bool, shapes (rows,) and (rows, scales)
    """
    heads, sums = np.empty((_OCTAVES << kept) + 2), np.empty((_OCTAVES << kept) + 2)
    least = np.empty(scales.shape[1])
    for r in range(first, last):
        top = -1
        for p in range(bins.shape[1]):
            b = bins.shape[2] - 1
            while b > top and bins[r, p, b] == 0:
                b -= 1
            top = b
        exponents[r] = NO_EXPONENT
        keep[r] = True
        if top < 1 << kept or top >= 255 << kept:
            continue
        exponents[r] = _frexp(top, kept)
        floor = (max((top >> kept) - _OCTAVES + 1, 1) << kept) - 1
        squares = _totals(bins[r], n, kept, floor, top, heads, sums)
        share = (4096.0 + heads.size + n / CHUNK) * 2.0**-52  # that roundings take, here and in golden sums
        best = np.inf
        for q in range(scales.shape[1]):
            low, high, size = _bounds(scales[r, q], exact, borders, values, kept, floor, top, heads, sums)
            slack = share * (size + squares)
            least[q] = low - slack
            best = min(best, high + slack)
        for q in range(scales.shape[1]):
            keep[r, q] = least[q] <= best


@njit(cache=True, nogil=True)
def row_choices(
    bits: Words,
    kept: int,
    borders: Doubles,
    values: Doubles,
    scales: Doubles,
    exact: bool,
    exponents: Integers,
    keep: Flags,
    first: int,
    last: int,
) -> None:
    """Write the same for rows of up to `PART` float32 patterns, one after the other."""
    n, bins = bits.shape[1], np.empty((1, 1, 256 << kept), np.uint64)
    for r in range(first, last):
        _binned(bits[r], kept, bins[0, 0])
        found, left = exponents[r : r + 1], keep[r : r + 1]
        binned_choices(bins, n, kept, borders, values, scales[r : r + 1], exact, found, left, 0, 1)
