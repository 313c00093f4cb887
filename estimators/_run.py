"""How estimators call their kernels: chunks handed out to threads, and partial results added in index order."""

__all__ = [
    "by_rows",
    "chunk_count",
    "largest_magnitudes",
    "magnitude_words",
    "parted",
    "run",
    "run_rows",
    "spread",
    "sum_chunks",
    "sums_of_magnitudes",
]

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import native
from tetrit.estimators import _kernels
from tetrit.parallel import lent_team, run_items

_ALONE = 1 << 18
"""Work up to that on so many elements is done by the calling thread: starting others would cost more than they save."""

_PARTS = 16, 8, 4, 2
_PART = 1 << 12
"""Into how many parts a row is cut, and what a part has at least."""

_MANY = 64
"""With this many rows, threads can share the work row by row."""

_MAGNITUDES: dict[str, np.signedinteger[Any]] = {"f": np.int32(0x7FFFFFFF), "d": np.int64(0x7FFFFFFFFFFFFFFF)}
"""By character of the dtype, the bits of a float without its sign."""


def chunk_count(n: int) -> int:
    """Return the number of chunks of a row of `n` elements."""
    return -(-n // _kernels.CHUNK)


def run(kernel: Callable[..., bool | None], rows: NDArray[Any], *args: Any) -> bool:
    """Call ``kernel(rows, *args, first, last)`` so that every chunk of every row is done once; return as `spread`."""
    return spread(kernel, (rows, *args), rows.shape[0] * chunk_count(rows.shape[1]), min(_kernels.CHUNK, rows.shape[1]))


def spread(kernel: Callable[..., Any], args: tuple[Any, ...], n: int, size: int) -> bool:
    """Call ``kernel(*args, first, last)`` so that each of `n` items is done once; return whether no call gave False.

    An item takes about as long as `size` elements of an array.
    """
    team = lent_team()
    if team is not None or n * size <= _ALONE:
        return native.run(team, kernel, args, n, size)
    found: list[bool] = []
    run_items(lambda first, last: found.append(native.call(kernel, args, first, last)), n, size)
    return all(found)


def by_rows(rows: NDArray[Any]) -> bool:
    """Whether kernels of `run_rows` are for these rows: none is empty, and no thread would wait for another's row."""
    return 0 < rows.size <= _ALONE or (rows.shape[0] >= _MANY and rows.shape[1] > 0)


def run_rows(kernel: Callable[..., bool], rows: NDArray[Any], *args: Any) -> bool:
    """Call ``kernel(rows, *args, first, last)`` so that every row is done once; return whether all calls gave True."""
    return spread(kernel, (rows, *args), *rows.shape)


def parted(rows: NDArray[Any]) -> NDArray[Any]:
    """Return a single C-contiguous row as several of one length, if a lent team can share them; others as they are.

    For rules in which no element depends on the others of its row.
    """
    if len(rows) != 1 or lent_team() is None:
        return rows
    count = next((n for n in _PARTS if rows.size % n == 0 and rows.size >= n * _PART), 1)
    return rows.reshape(count, -1)


def magnitude_words(rows: NDArray[Any]) -> tuple[NDArray[Any], np.signedinteger[Any]]:
    """Return the bits of floats as signed integers, and the mask for those of the magnitude."""
    mask = _MAGNITUDES[rows.dtype.char]
    return rows.view(mask.dtype), mask


def sum_chunks(parts: NDArray[Any]) -> NDArray[Any]:
    """Add the chunks of every row from left to right; 0 for a row without chunks."""
    if parts.shape[1] == 0:
        return np.zeros(parts.shape[0], parts.dtype)
    return parts[:, 0] if parts.shape[1] == 1 else np.add.accumulate(parts, axis=1)[:, -1]


def sums_of_magnitudes(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of the magnitudes of each row, in float64 and in the golden order; infinity where it overflows."""
    parts = np.empty((rows.shape[0], chunk_count(rows.shape[1])))
    with np.errstate(over="ignore"):
        run(_kernels.magnitude_sum, rows, parts)
        return sum_chunks(parts)


def largest_magnitudes(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the largest magnitude of every row (0 for an empty one), not finite where a value is not."""
    bits, mask = magnitude_words(rows)
    parts = np.empty((rows.shape[0], chunk_count(rows.shape[1])), mask.dtype)
    run(_kernels.largest_bits, bits, mask, parts)
    largest = parts[:, 0] if parts.shape[1] == 1 else parts.max(axis=1, initial=0)
    return largest.view(rows.dtype).astype(np.float64)
