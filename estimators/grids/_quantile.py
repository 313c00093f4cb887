"""The authority for quantiles of magnitudes: one order statistic of every row, never an interpolation."""

__all__ = ["magnitude_quantiles", "quantiles_and_largest", "rank"]

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators._run import largest_magnitudes
from tetrit.estimators.grids import _kernels
from tetrit.parallel import run_blocks

_SHORT = 1 << 16
"""Rows up to this size are shared out to threads whole; a longer one is cut."""
_BINS = 1 << 15
_BLOCK = 1 << 18
"""Elements that are worth a thread; the runner hands out multiples of it."""
_MOST_SEGMENTS = 64
_SAMPLE = 1 << 15
_NEIGHBOURS = 4
"""Of the sample, taken together: reading one element of a cache line costs what reading all does."""
_DEVIATIONS = 3.5
"""How far from the rank in the sample, in standard deviations, the magnitude that is looked for is expected."""
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def rank(quantile: float, n: int) -> int:
    """Return the rank from 1 to n of a quantile: the ceiling of ``quantile * n``, a product of doubles; 1 at least."""
    return min(max(math.ceil(quantile * n), 1), n)


def magnitude_quantiles(rows: NDArray[Any], quantile: float) -> NDArray[np.float64]:
    """Return the |x| of rank `rank(quantile, n)` in ascending order in every row of n finite numbers, 0 if n is 0."""
    return quantiles_and_largest(rows, quantile)[0]


def quantiles_and_largest(rows: NDArray[Any], quantile: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `magnitude_quantiles` and the largest |x| of every row: infinity where a number is not finite, 0 for none.

    Of a row that is not finite the quantile means nothing.
    """
    if not rows.shape[1]:
        return np.zeros(rows.shape[0]), np.zeros(rows.shape[0])
    k = rank(quantile, rows.shape[1])
    if rows.shape[1] > _SHORT:
        found, largest = np.array([_of_long_row(row, k) for row in rows], np.float64).reshape(-1, 2).T
        return found, np.where(np.isfinite(largest), largest, np.inf)
    return _of_short_rows(rows, k), largest_magnitudes(rows)


def _of_short_rows(rows: NDArray[Any], k: int) -> NDArray[np.float64]:
    """Return the magnitude of rank k of every row."""
    word, width = _word(rows), 8 * rows.itemsize
    found = np.empty(rows.shape[0], rows.dtype)
    groups = np.linspace(0, rows.shape[0], max(min(rows.size // _BLOCK, _MOST_SEGMENTS), 1) + 1).astype(int).tolist()
    sign, shift = word(1 << (width - 1)), word(width - 12)

    def part(i: int) -> None:
        _kernels.ranked_magnitudes(rows.view(word), sign, shift, k, found.view(word), groups[i], groups[i + 1])

    _each(part, len(groups) - 1)
    return found.astype(np.float64)


def _of_long_row(row: NDArray[Any], k: int) -> tuple[float, float]:
    """Return the magnitude of rank k and the largest: in one pass, where the rank lies where a sample says it does."""
    word: Any = np.int32 if row.dtype == np.float32 else np.int64
    magnitude = word(np.iinfo(word).max)
    segments = np.array_split(row.view(word), min(-(-row.size // _BLOCK), _MOST_SEGMENTS))
    low, high = _bracket(row.view(word), magnitude, k)
    counts = np.empty((len(segments), 3), np.int64)
    rooms = np.empty((len(segments), segments[-1].size // 8), word)

    def gather(i: int) -> None:
        i = len(segments) - 1 - i  # so that the beginning of the row is in the cache for the next pass over it
        _kernels.between_magnitudes(segments[i], magnitude, low, high, counts[i], rooms[i])

    _each(gather, len(segments))
    before, largest = int(counts[:, 0].sum()), float(word(counts[:, 2].max()).view(row.dtype))
    found = np.concatenate([room[:n] for room, n in zip(rooms, counts[:, 1].tolist(), strict=True)])
    if not before < k <= before + found.size or found.size < counts[:, 1].sum():
        return _by_histogram(row, k), largest
    found.partition(k - before - 1)
    return float(found.view(row.dtype)[k - before - 1]), largest


def _bracket(bits: NDArray[Any], magnitude: Any, k: int) -> tuple[Any, Any]:
    """Return two magnitudes, as integers, between which a sample of a long row expects that of rank k.

    Where the sample ends before, they are the ends of what integers hold.
    """
    size = min(_SAMPLE, bits.size // 64)
    # multiples of the golden ratio fall evenly, and on no period that a row may have
    first = (np.modf(np.arange(size // _NEIGHBOURS) * _GOLDEN)[0] * (bits.size - _NEIGHBOURS)).astype(np.int64)
    sample = np.concatenate([bits[first + i] for i in range(_NEIGHBOURS)]) & magnitude
    share = k / bits.size
    middle = sample.size * share
    reach = _DEVIATIONS * math.sqrt(middle * (1.0 - share)) + 1.0
    low, high = int(middle - reach), int(middle + reach)
    sample.partition((max(low, 0), min(high, sample.size - 1)))
    return sample[low] if low >= 0 else ~(magnitude & 0), sample[high] if high < sample.size else magnitude


def _by_histogram(row: NDArray[Any], k: int) -> float:
    """Return the magnitude of rank k: find its upper 15 bits in a histogram, then look only where they match."""
    word = _word(row)
    bits, shift = row.view(word), word(8 * row.itemsize - 16)
    segments = np.array_split(bits, min(-(-row.size // _BLOCK), _MOST_SEGMENTS))
    counts = np.zeros((len(segments), _BINS), np.int64)

    def count(i: int) -> None:
        _kernels.magnitude_histogram(segments[i], shift, counts[i])

    _each(count, len(segments))
    below = np.cumsum(counts.sum(axis=0))
    wanted = int(np.searchsorted(below, k))
    before = int(below[wanted - 1]) if wanted else 0
    found = np.empty(int(below[wanted]) - before, word)
    places = np.split(found, np.cumsum(counts[:, wanted])[:-1])

    def gather(i: int) -> None:
        _kernels.matching_magnitudes(segments[i], shift, wanted, _BINS - 1, places[i])

    _each(gather, len(segments))
    magnitudes = np.abs(found.view(row.dtype))
    return float(np.partition(magnitudes, k - before - 1)[k - before - 1])


def _word(x: NDArray[Any]) -> Any:
    """Return the unsigned integer that is as wide as the floats."""
    return np.uint32 if x.dtype == np.float32 else np.uint64


def _each(task: Callable[[int], None], n: int) -> None:
    """Call ``task(i)`` for every i below n, shared out to threads."""

    def some(start: int, stop: int) -> None:
        for i in range(start // _BLOCK, stop // _BLOCK):
            task(i)

    run_blocks(some, n * _BLOCK)  # the runner counts elements
