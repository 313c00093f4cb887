"""Grids of few values: where one gives way to the next, in units of the array, and the passes over an array."""

__all__ = ["Grid", "grid_codes", "grid_values", "nearest_grid", "thresholds"]

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators._rows import from_rows
from tetrit.estimators._run import run
from tetrit.estimators._values import filled
from tetrit.estimators.grids import _kernels

_STEPS = 4
"""How far the product of border and scale may be from the threshold before it is searched for in earnest."""
_SLAB = 1 << 18
"""How many thresholds are held at a time: a tensor of many short rows has more of them than weights."""
_HALF = 8
"""Thresholds on either side of 0 that the kernel for opposite levels takes."""
_LARGE = 1 << 16
"""Elements from which on it is worth looking whether that kernel will do."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The values of a quantiser in ascending order, what lies between them, and their codes.

    Members
    -------
    values : float64 array (n,)
        Ascending; n from 1 to 256.
    borders : float64 array (n - 1,)
        The largest double that still belongs to the lower one of two neighbours.
    codes : uint8 array (n,)
        The code of every value.
    """

    values: NDArray[np.float64]
    borders: NDArray[np.float64]
    codes: NDArray[np.uint8]


@lru_cache(maxsize=128)
def nearest_grid(levels: tuple[float, ...]) -> Grid:
    """Return the grid on which a number goes to its nearest level, code i standing for ``levels[i]``.

    NaN levels are reserved codes. Of equal levels the lowest code counts. A tie goes to the even code, of two codes of
    equal parity to the lower one; it is decided exactly, as `tetrit.formats` decides it.
    """
    table = np.array(levels)
    codes = np.flatnonzero(np.isfinite(table))
    values, first = np.unique(table[codes], return_index=True)
    codes = codes[first]
    lower, upper = codes[:-1], codes[1:]
    upper_wins = np.where((lower ^ upper) & 1, upper & 1 == 0, upper < lower)
    middle, side = _middles(values)
    below = np.nextafter(middle, -np.inf)
    borders = np.where((side < 0) | ((side == 0) & upper_wins), below, middle)
    return Grid(values=values, borders=borders, codes=codes.astype(np.uint8))


def _middles(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the double nearest to the middle of each two neighbours, and on which side of it (-1, 0, 1) that lies."""
    a, b = values[:-1] * 0.5, values[1:] * 0.5
    middle = a + b
    part = middle - a  # Knuth's two-sum: the error of the addition, exactly
    error = (a - (middle - part)) + (b - part)
    side = np.sign(error).astype(np.int64)
    for i in np.flatnonzero((a * 2 != values[:-1]) | (b * 2 != values[1:])):  # half of a subnormal may be none
        true = (Fraction(float(values[i])) + Fraction(float(values[i + 1]))) / 2
        middle[i] = float(true)
        side[i] = (true > Fraction(float(middle[i]))) - (true < Fraction(float(middle[i])))
    return middle, side


def thresholds(borders: NDArray[np.float64], scales: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return for every row the largest x of `dtype` with ``x / scale <= border``, a quotient of doubles.

    So ``x > threshold`` says exactly what ``x / scale > border`` does, without a division per element. The rows are
    filled up with infinity to a multiple of four.
    """
    out = np.full((scales.size, -(-borders.size // 4) * 4), np.inf, dtype)
    found = out[:, : borders.size]
    by = scales[:, None]
    up, down = dtype.type(np.inf), dtype.type(-np.inf)
    with np.errstate(over="ignore", under="ignore"):
        found[...] = borders * by
        np.copyto(found, np.nextafter(up, down), where=found == up)
        for _ in range(_STEPS):
            more = np.nextafter(found, up)
            below, next_below = found / by <= borders, (more / by <= borders) & (more < up)
            if not (~below | next_below).any():
                return out
            found[...] = np.where(next_below, more, np.where(below, found, np.nextafter(found, down)))
        found[...] = _last_below(borders, by, dtype)
    return out


def _last_below(borders: NDArray[np.float64], by: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return what `thresholds` looks for by bisection: where quotients underflow, the product may be far from it."""
    word: Any = np.int32 if dtype == np.float32 else np.int64
    highest = int(np.array(np.inf, dtype).view(word))

    def number(key: NDArray[Any]) -> NDArray[Any]:  # keys order the floats; ~k belongs to the negative of that of k
        return np.asarray(np.where(key < 0, -(~key).view(dtype), key.view(dtype)))

    shape = (by.shape[0], borders.size)
    low, high = np.full(shape, ~word(highest)), np.full(shape, word(highest))  # -inf is below, inf is not
    for _ in range(8 * dtype.itemsize):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        below = number(middle) / by <= borders
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return number(low)


def grid_codes(
    grid: Grid, rows: NDArray[Any], scales: NDArray[np.float64], shape: tuple[int, ...], axis: int | None
) -> NDArray[np.uint8]:
    """Return the code of ``x / scale`` on the grid, of every x of the rows."""
    codes = np.empty(rows.shape, np.uint8)
    for part in _slabs(grid, len(rows)):
        limits = thresholds(grid.borders, scales[part], rows.dtype)
        run(_kernels.place_codes, rows[part], limits, grid.codes, codes[part])
    return from_rows(codes, shape, axis)


def grid_values(
    grid: Grid,
    rows: NDArray[Any],
    scales: NDArray[np.float64],
    shape: tuple[int, ...],
    axis: int | None,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """Return scale times the value of ``x / scale`` on the grid, in float64, or rounded once into `out`."""

    def kernel(into: NDArray[Any]) -> None:
        for part in _slabs(grid, len(rows)):
            limits = thresholds(grid.borders, scales[part], rows.dtype)
            levels = np.zeros((len(limits), limits.shape[1] + 1), into.dtype)
            with np.errstate(over="ignore", under="ignore"):
                levels[:, : grid.values.size] = scales[part, None] * grid.values
            half = _upper_half(limits, levels, grid.borders.size) if rows[part].size >= _LARGE else None
            if half is None:
                run(_kernels.place_values, rows[part], limits, levels, into[part])
            else:
                run(_kernels.mirrored_values, rows[part], *half, into[part])

    return filled(rows, shape, axis, out, kernel)


def _upper_half(limits: NDArray[Any], levels: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return the upper half of n thresholds of every row and the levels above them, if that says it all; else None.

    It does where the levels are 0 in the middle and opposite on both sides, and so is what the thresholds let through:
    a lower one belongs to its inner side. A half has up to eight; infinity fills up what is missing.
    """
    half = n // 2
    if n % 2 or half > _HALF:
        return None
    upper, middle, above = limits[:, half:n], levels[:, half], levels[:, half + 1 : n + 1]
    if ((middle != 0) | np.signbit(middle)).any() or not ((above > 0) & (levels[:, :half][:, ::-1] == -above)).all():
        return None
    with np.errstate(over="ignore", under="ignore"):
        if (limits[:, :half][:, ::-1] != -np.nextafter(upper, limits.dtype.type(np.inf))).any():
            return None
    borders, values = np.full((len(limits), _HALF), np.inf, limits.dtype), np.zeros((len(levels), _HALF), levels.dtype)
    borders[:, :half], values[:, :half] = upper, above
    return borders, values


def _slabs(grid: Grid, n_rows: int) -> Iterator[slice]:
    """Cut the rows into parts whose thresholds fit into a slab."""
    size = max(_SLAB // grid.values.size, 1)
    return (slice(first, first + size) for first in range(0, n_rows, size))
