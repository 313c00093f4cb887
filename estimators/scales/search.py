"""The scale of least squared error: bounds from a histogram first, the golden sums where these leave a choice."""

__all__ = ["GREATEST_EXPONENT", "LEAST_EXPONENT", "best_scales"]

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators._run import chunk_count, largest_magnitudes, run, spread, sum_chunks
from tetrit.estimators.scales import _kernels
from tetrit.formats import RealFormat

LEAST_EXPONENT, GREATEST_EXPONENT = -1022, 1023

_MOST = 7
"""Mantissa bits that bins are told apart by, at most: 256 KiB of bins."""
_BINS = 8
"""How many bins there may be for a magnitude: rounding it at a few scales takes longer than clearing these."""
_FINER = 4
"""How many more there are at scales for which borders are no edges of bins: 16 bins where one would do."""


def best_scales(
    rows: NDArray[Any], fmt: RealFormat, ratios: Sequence[float], *, power_of_two: bool
) -> NDArray[np.float64]:
    """Return the scale of every row at which its rounding to a format has the least sum of squared errors.

    Parameters
    ----------
    rows : ndarray, shape (rows, row length)
    fmt : RealFormat
        Magnitudes beyond its largest finite value are held there.
    ratios : sequence of float
        Candidates, the largest first, which wins among equals: in units of the least power of two above the largest
        magnitude of the row, or, unless `power_of_two`, of that magnitude.
    power_of_two : bool
        Whether the candidates are powers of two.

    Returns
    -------
    ndarray of float64, shape (rows,)
        1 for a row of zeros, not finite for one that has a value that is not.
    """
    kept = _kept_bits(fmt, rows, power_of_two)
    if kept is None:
        return _summed(rows, fmt, ratios, power_of_two, np.ones((len(rows), len(ratios)), np.bool_))
    units = np.ones(len(rows)) if power_of_two else np.frexp(largest_magnitudes(rows))[0]
    scales = np.multiply.outer(units, ratios)
    exponents, keep = _bounded(rows.view(np.uint32), kept, fmt, scales, power_of_two)
    found: NDArray[np.float64] = np.ldexp(scales[np.arange(len(rows)), keep.argmax(1)], exponents)
    left = np.flatnonzero((keep.sum(1) > 1) | (exponents == _kernels.NO_EXPONENT))
    if left.size:
        some = rows if left.size == len(rows) else rows[left]
        found[left] = _summed(some, fmt, ratios, power_of_two, keep[left])
    return found


def _bounded(
    bits: NDArray[np.uint32], kept: int, fmt: RealFormat, scales: NDArray[np.float64], exact: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return for every row the exponent of its largest magnitude, and which of the scales may be the best."""
    n_rows, n = bits.shape
    exponents, keep = np.empty(n_rows, np.int64), np.empty(scales.shape, np.bool_)
    cells = fmt.magnitude_cells
    assert cells is not None
    rest = kept, *cells, scales, exact, exponents, keep
    if n <= _kernels.PART:
        spread(_kernels.row_choices, (bits, *rest), n_rows, n)
        return exponents, keep
    bins = np.empty((n_rows, -(-n // _kernels.PART), 256 << kept), np.uint64)
    spread(_kernels.binned_parts, (bits, kept, bins), n_rows * bins.shape[1], _kernels.PART)
    spread(_kernels.binned_choices, (bins, n, *rest), n_rows, bins[0].size)
    return exponents, keep


def _kept_bits(fmt: RealFormat, rows: NDArray[Any], power_of_two: bool) -> int | None:
    """Return how many mantissa bits the bins of a row are told apart by; None where sums alone take less time."""
    bits = _useful_bits(fmt, power_of_two)
    if rows.dtype != np.float32 or bits is None:
        return None
    affordable = (_BINS * rows.shape[1]).bit_length() - 9
    return min(bits[1], affordable) if affordable >= bits[0] else None


@lru_cache(maxsize=64)
def _useful_bits(fmt: RealFormat, power_of_two: bool) -> tuple[int, int] | None:
    """Return with how many mantissa bits no two borders of a format share a bin, and how many are of use; None if many.

    None too where negative numbers are not rounded as positive ones are.
    """
    cells = fmt.magnitude_cells
    if cells is None:
        return None
    borders = cells[0][cells[0] > np.finfo(np.float64).tiny]
    closest = (borders[1:] / borders[:-1]).min(initial=2.0)
    apart = max(0, math.ceil(-math.log2(closest - 1.0)))
    if apart > _MOST:
        return None
    if not power_of_two:
        return apart, min(apart + _FINER, _MOST)
    # at powers of two, borders of few bits are edges of bins
    mantissas = 2.0 * np.frexp(borders)[0]
    edges = (n for n in range(apart, _MOST + 1) if (mantissas * 2**n % 1 == 0).all())
    return apart, next(edges, apart)


def _summed(
    rows: NDArray[Any], fmt: RealFormat, ratios: Sequence[float], power_of_two: bool, wanted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the best of the wanted scales by the golden sums."""
    largest = largest_magnitudes(rows)
    fraction, exponent = np.frexp(largest)
    unit = np.where(fraction == 0, 1.0, 1.0 if power_of_two else fraction)
    half = -exponent // 2
    factors = np.ldexp(1.0, np.stack([half, -exponent - half], axis=1))  # normal numbers: any device has the same
    scales = np.multiply.outer(unit, ratios)
    parts = np.empty((*scales.shape, chunk_count(rows.shape[1])))
    tables, held = fmt.nearest_tables, fmt.max_value
    with np.errstate(over="ignore", invalid="ignore"):
        run(_kernels.rounding_errors, rows, factors, scales, power_of_two, *tables, held, wanted, parts)
        totals = sum_chunks(parts.reshape(scales.size, parts.shape[2])).reshape(scales.shape)
    best = np.where(wanted & (totals < np.inf), totals, np.inf).argmin(1)  # NaN: the format has no finite value there
    found = np.take_along_axis(scales, best[:, np.newaxis], 1)[:, 0]
    mantissa, places = np.frexp(found)
    place = np.clip(places - 1 + exponent, LEAST_EXPONENT, GREATEST_EXPONENT)
    found = np.where(largest == 0, 1.0, np.ldexp(2.0 * mantissa, place))
    return np.where(np.isfinite(largest), found, largest)
