"""The authority for quantiles of magnitudes: one order statistic of every row, never an interpolation."""

__all__ = ["magnitude_quantiles", "rank"]

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators.grids import _kernels
from tetrit.parallel import run_blocks

_SHORT = 1 << 16
"""Rows up to this size are shared out to threads whole; a longer one is cut."""
_BINS = 1 << 15
_BLOCK = 1 << 18
"""Elements that are worth a thread; the runner hands out multiples of it."""
_MOST_SEGMENTS = 64


def rank(quantile: float, n: int) -> int:
    """Return the rank from 1 to n of a quantile: the ceiling of ``quantile * n``, a product of doubles; 1 at least."""
    return min(max(math.ceil(quantile * n), 1), n)


def magnitude_quantiles(rows: NDArray[Any], quantile: float) -> NDArray[np.float64]:
    """Return the |x| of rank `rank(quantile, n)` in ascending order in every row of n finite numbers, 0 if n is 0."""
    if not rows.shape[1]:
        return np.zeros(rows.shape[0])
    k = rank(quantile, rows.shape[1])
    if rows.shape[1] > _SHORT:
        return np.array([_of_long_row(row, k) for row in rows])
    word, width = _word(rows), 8 * rows.itemsize
    found = np.empty(rows.shape[0], rows.dtype)
    groups = np.linspace(0, rows.shape[0], max(min(rows.size // _BLOCK, _MOST_SEGMENTS), 1) + 1).astype(int).tolist()
    sign, shift = word(1 << (width - 1)), word(width - 12)

    def part(i: int) -> None:
        _kernels.ranked_magnitudes(rows.view(word), sign, shift, k, found.view(word), groups[i], groups[i + 1])

    _each(part, len(groups) - 1)
    return found.astype(np.float64)


def _of_long_row(row: NDArray[Any], k: int) -> float:
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
